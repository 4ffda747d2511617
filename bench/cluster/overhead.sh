#!/usr/bin/env bash
# What it costs to have a cluster do the work, where the cluster is this machine: inspection and grading of drawn
# figures by the program itself with two threads, and by a scheduler with one executor of two slots, in turns
# (A B A B ...), so that what else the machine does hits both alike. Bytes are compared too.
#
#   bench/cluster/overhead.sh BINARY [IMAGES] [ROUNDS] [FOLDER]
#
# BINARY is built with --features cluster; libtorch's folder must be in LD_LIBRARY_PATH. GRADER names a trained
# grader, `grade/model` of a run; without it one is trained first, which takes longer than all else.
set -euo pipefail
binary=$(realpath "$1")
images=${2:-3000}
rounds=${3:-3}
folder=${4:-$(mktemp -d)}
mkdir -p "$folder"

# On a busy machine, threads of the tensor library that wait by spinning wait for each other's time slices: a single
# process then takes several times as long, while one with more threads than processors stops spinning by itself.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

started=()
stop() {
    for process in "${started[@]}"; do
        kill "$process" 2>/dev/null || true
    done
}
trap stop EXIT

# Starts a process of the cluster; its address goes into `address`.
start() {
    local log=$folder/$1.log
    "$binary" cluster "$@" >"$log" 2>&1 &
    started+=($!)
    for _ in $(seq 100); do
        address=$(sed -nE 's/.*listening on ([^, ]+).*/\1/p' "$log")
        [ -n "$address" ] && return
        sleep 0.1
    done
    cat "$log" >&2
    exit 1
}

run() {
    "$binary" --quiet --threads 2 "$@" >/dev/null
}

figures=$folder/figures
[ -e "$figures/manifest.json" ] || run import --source figures --count "$images" --out "$figures"
grader=${GRADER:-$folder/trained/model}
if [ ! -e "$grader/grader.json" ]; then
    few=$folder/few
    run import --source figures --count 400 --seed 1 --out "$few"
    run grade --import "$few" --out "$folder/trained"
fi

start scheduler --port 0
scheduler=$address
start executor --scheduler "$scheduler" --port 0 --slots 2

# Seconds that a command takes.
timed() {
    local begin end
    begin=$(date +%s%N)
    run "$@"
    end=$(date +%s%N)
    echo $(((end - begin) / 1000000))
}

stage() {
    local verb=$1
    shift
    local own=$folder/$verb-own shared=$folder/$verb-shared
    echo "$verb of $images images, ms: own, cluster"
    for _ in $(seq "$rounds"); do
        rm -rf "$own" "$shared"
        local a b
        a=$(timed "$verb" --import "$figures" "$@" --out "$own")
        b=$(timed "$verb" --import "$figures" "$@" --out "$shared" --cluster "$scheduler")
        echo "$a $b"
    done
    # A cluster may leave nothing else than the program itself.
    diff -rq "$own" "$shared" && echo "same bytes"
}

stage inspect
stage grade --model "$grader"
