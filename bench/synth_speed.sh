#!/usr/bin/env bash
# Requests a second to one server that answers at once, from our dispatcher with its ledger and from
# the `openai` client of Python; then how busy 500 slots of a server with 1 s latency stay.
#
#   bench/synth_speed.sh DIR [REQUESTS] [REQUESTS_OF_PYTHON]
#
# DIR takes 12.5 KB of images a request. PYTHON names an interpreter with `pip install openai`.
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)
requests=${2:-200000}
python_requests=${3:-5000}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}/release/examples
cargo build --release -p chat --example fault_server --example throughput
port=$((20000 + RANDOM % 20000))
url=http://127.0.0.1:$port/v1
text='{"questions": ["What is the area of the shaded region?", "How long is the side a?"]}'

server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
serve() {
    if [ -n "$server" ]; then
        kill "$server"
        wait "$server" 2>/dev/null || true
    fi
    "$target/fault_server" --port "$port" --fixed "$text" "$@" >/dev/null &
    server=$!
    until curl -sf "http://127.0.0.1:$port/stats" >/dev/null; do sleep 0.1; done
}
ours() {
    rm -f "$dir"/ledger.sqlite*
    "$target/throughput" "$url" "$1" "$2" "$dir/images" "$dir/ledger.sqlite"
}

echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
echo "== ours, $requests requests, 64 at once, ledger on"
serve
ours "$requests" 64
echo "== openai and asyncio, $python_requests requests, 64 at once"
"$python" bench/python/openai_asyncio.py "$url" "$python_requests" 64 "$dir/images"
echo "== ours, 500 slots of 1 s"
serve --latency-ms 1000 --slots 500
ours 15000 500
curl -s "http://127.0.0.1:$port/stats" | "$python" -c '
import json, sys
stats = json.load(sys.stdin)
span, peak, twice = stats["span_s"], stats["peak"], stats["billed_twice"]
busy = stats["busy_s"] / (span * 500)
print(f"slots busy {busy:.1%} of {span:.2f} s, {peak} at most; billed twice: {twice}")'
echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)"
