#!/usr/bin/env bash
# The paper's ablation in small: random images against selected ones, then selected ones with each kind of
# made pairs, then with all. Every arm of a seed begins with the same base and takes the same steps; held-out
# figures are the same, too. About half an hour on two cores, for three seeds.
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
for seed in "${seeds[@]}"; do
    at=$folder/seed-$seed
    base=$at/base
    [ -f "$base/train/manifest.json" ] ||
        "$binary" run bench/ablation-base.toml --out "$base" --set seed="$seed"
    arm() {
        local name=$1
        shift
        local out=$at/$name
        if [ ! -d "$out/import" ]; then
            mkdir -p "$out"
            cp -al "$base/import" "$base/heldout" "$out/"
        fi
        echo "seed $seed, $name"
        "$binary" run bench/ablation.toml --out "$out" --set seed="$seed" \
            --set train.base.model="$base/train/model" "$@"
    }
    # As the figures come: degraded ones too, and levels of complexity in the shares that they have.
    arm random --set select.drop_unclear=false --set "select.ratio=$(python3 bench/ablation_table.py --levels "$base")" \
        --set synth.teacher=none
    arm selected --set synth.teacher=none
    arm askimg --set "$(counts 5 0 0 0)"
    arm compq --set "$(counts 0 1 0 0)"
    arm rephq --set "$(counts 0 0 1 0)"
    arm simpq --set "$(counts 0 0 0 1)"
    arm all --set "$(counts 5 1 1 1)"
done
