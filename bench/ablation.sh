#!/usr/bin/env bash
# The paper's ablation in small: random images against selected ones, then selected ones with each kind of
# made pairs, then with all. Every arm begins with the same base, which has learned from other figures without
# made pairs, and takes the same steps; the arms of a seed have the same figures to choose from and the same held-out
# ones. About twenty minutes on two cores, for three seeds.
#
#   bench/ablation.sh FOLDER [SEED...]        (default: seeds 1 2 3)
#   bench/ablation_table.py FOLDER            the table of it
#
# MATH_LLAVA names the binary (default: target/release/math-llava).
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
shift
seeds=("$@")
[ ${#seeds[@]} -gt 0 ] || seeds=(1 2 3)
binary=${MATH_LLAVA:-target/release/math-llava}

# Kinds that are not named are not made.
counts() {
    printf 'synth.counts={ askimg = %d, compq = %d, rephq = %d, simpq = %d }' "$@"
}
base=$folder/base
[ -f "$base/train/manifest.json" ] || "$binary" run bench/ablation-base.toml --out "$base"

for seed in "${seeds[@]}"; do
    at=$folder/seed-$seed
    arm() {
        local name=$1
        shift
        local out=$at/$name
        if [ ! -d "$out/import" ] && [ "$name" != selected ]; then
            mkdir -p "$out"
            cp -al "$at/selected/import" "$at/selected/heldout" "$out/"
        fi
        echo "seed $seed, $name"
        "$binary" run bench/ablation.toml --out "$out" --set seed="$seed" \
            --set train.base.model="$base/train/model" "$@"
    }
    arm selected --set synth.teacher=none
    # As the figures come: degraded ones too, and levels of complexity in the shares that they have.
    levels=$(python3 bench/ablation_table.py --levels "$at/selected")
    arm random --set select.drop_unclear=false --set "select.ratio=$levels" --set synth.teacher=none
    arm askimg --set "$(counts 5 0 0 0)"
    arm compq --set "$(counts 0 1 0 0)"
    arm rephq --set "$(counts 0 0 1 0)"
    arm simpq --set "$(counts 0 0 0 1)"
    arm all --set "$(counts 5 1 1 1)"
done
