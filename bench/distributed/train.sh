#!/usr/bin/env bash
# One process with two threads beside two ranks with one thread each, in turns, on the same steps.
#   bench/distributed/train.sh PROGRAM RUN [ROUNDS]
# RUN is a finished run of configs/quick.toml (its synth folder is trained on).
set -euo pipefail
program=$1 run=$2 rounds=${3:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
train() { # NAME RANKS THREADS UPDATE CLIP
  local out=$work/$1
  rm -rf "$out" && mkdir "$out"
  for stage in import select synth heldout inspect; do [ -e "$run/$stage" ] && cp -r "$run/$stage" "$out/"; done
  "$program" --quiet train configs/quick.toml --out "$out" --nproc "$2" --set train.threads="$3" \
    --set train.compute='"float32"' --set train.tower.steps=0 --set train.max_steps=20 --set train.batch_images=8 \
    --set train.model.text.hidden=256 --set train.model.text.mlp=1024 --set train.model.text.heads=4 --set train.model.text.kv_heads=4 \
    --set train.model.text.layers=4 --set train.update="\"$4\"" --set train.clip_by="\"$5\"" --set train.checkpoint_seconds=0 >/dev/null
  python3 - "$out/train/timing.jsonl" "$1" <<'P'
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[1])][5:]
middle = statistics.median
print(f"{sys.argv[2]:>28}  step {middle(r['seconds'] for r in rows):.4f} s, waited {middle(r.get('waited_seconds', 0) for r in rows):.4f} s, "
      f"{middle(r['tokens_per_second'] for r in rows):.0f} tokens/s, {rows[-1]['peak_memory_mib']} MiB on the first rank")
P
}
for round in $(seq "$rounds"); do
  echo "round $round"
  for way in "layerwise previous" "accumulate global"; do
    set -- $way
    train "1-process-2-threads-$1" 1 2 "$1" "$2"
    train "2-ranks-1-thread-$1" 2 1 "$1" "$2"
    train "1-process-1-thread-$1" 1 1 "$1" "$2"
  done
done
