#!/usr/bin/env bash
# Two hosts on one machine: network namespaces joined by a bridge, each with a core of its own, their links
# limited to several rates. A training step on both beside one host alone and beside what the scaling model
# predicts; and how long the step's exchange takes when nothing is computed.
#   bench/distributed/hosts.sh PROGRAM EXCHANGE_ALONE RUN [MBIT...]
# As root, with iproute2. RUN is a finished run of configs/quick.toml; EXCHANGE_ALONE is c10d's example.
set -euo pipefail
program=$1 exchange=$2 run=$3
shift 3
rates=("$@")
[ ${#rates[@]} -gt 0 ] || rates=(10000 3200 1600 800 400)
work=$(mktemp -d) name=mll$$
clean() {
  for i in 0 1; do ip netns del $name-$i 2>/dev/null || true; done
  ip link del ${name}b 2>/dev/null || true
  rm -rf "$work"
}
trap clean EXIT
ip link add ${name}b type bridge
ip link set ${name}b up
for i in 0 1; do
  ip netns add $name-$i
  ip link add ${name}v$i type veth peer name eth0 netns $name-$i
  ip link set ${name}v$i master ${name}b up
  ip -n $name-$i addr add 10.77.0.$((i + 1))/24 dev eth0
  ip -n $name-$i link set eth0 up
  ip -n $name-$i link set lo up
done
limit() { # MBIT: what each host sends and receives a second
  for i in 0 1; do
    ip netns exec $name-$i tc qdisc replace dev eth0 root tbf rate "$1"mbit burst 256k latency 200ms
  done
}
both() { # COMMAND...: rank 0's output is shown
  ip netns exec $name-1 taskset -c 1 env RANK=1 WORLD_SIZE=2 MASTER_ADDR=10.77.0.1 MASTER_PORT=29500 OMP_NUM_THREADS=1 "$@" >/dev/null &
  ip netns exec $name-0 taskset -c 0 env RANK=0 WORLD_SIZE=2 MASTER_ADDR=10.77.0.1 MASTER_PORT=29500 OMP_NUM_THREADS=1 "$@"
  wait
}
settings=(--set train.threads=1 --set train.compute='"float32"' --set train.tower.steps=0 --set train.max_steps=20
  --set train.batch_images=8 --set train.model.text.hidden=256 --set train.model.text.mlp=1024 --set train.model.text.heads=4
  --set train.model.text.kv_heads=4 --set train.model.text.layers=4 --set train.checkpoint_seconds=0)
prepared() { # NAME: a folder with what comes before training
  mkdir "$work/$1"
  for stage in import select synth heldout inspect; do [ -e "$run/$stage" ] && cp -r "$run/$stage" "$work/$1/"; done
  echo "$work/$1"
}
shown() { # FOLDER
  python3 - "$1/train/timing.jsonl" <<'P'
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[1])][5:]
middle = statistics.median
print(f"step {middle(r['seconds'] for r in rows):.4f} s, waited {middle(r.get('waited_seconds', 0) for r in rows):.4f} s")
P
}
alone=$(prepared alone)
taskset -c 0 env OMP_NUM_THREADS=1 "$program" --quiet train configs/quick.toml --out "$alone" "${settings[@]}" >/dev/null
echo "one host: $(shown "$alone")"
for rate in "${rates[@]}"; do
  limit "$rate"
  two=$(prepared "two-$rate")
  both "$program" --quiet train configs/quick.toml --out "$two" "${settings[@]}" >/dev/null
  echo "$rate Mbit/s: two hosts $(shown "$two")"
  [ -n "${PARTS:-}" ] && echo "  exchange alone $(both "$exchange" $PARTS) s"
  taskset -c 0 env OMP_NUM_THREADS=1 "$program" --quiet train configs/quick.toml --out "$alone" "${settings[@]}" --dry-run \
    --ranks 2 --network-speed "$(python3 -c "print($rate / 8000)")" --network-latency 100 2>&1 | grep -i "rank" || true
done
