"""Our comparison of answers beside Math-Verify's on the same pairs: how many a second, and where they differ.

    python bench/peers/equality_speed.py --ours target/release/examples/pairs PAIRS.json [--differences OUT.json]

PAIRS.json is a list of {"gold", "prediction"} or MATH-V's {"gt", "gt_value", "model_answer"}. Needs
`pip install "math-verify[antlr4]==0.9.0"`. `cargo build --release -p equal --example pairs` makes ours. Both sides
run on one core and are timed by its processor time, so that other jobs do not count; Math-Verify keeps its default time limits, its verdict on what it gives up is "different".
"""

import argparse
import json
import logging
import subprocess
import time

from math_verify import parse, verify

logging.disable(logging.CRITICAL)
parser = argparse.ArgumentParser()
parser.add_argument("pairs")
parser.add_argument("--ours", required=True)
parser.add_argument("--differences")
arguments = parser.parse_args()

rows = json.load(open(arguments.pairs))
if "gold" in rows[0]:
    pairs = [(row["gold"], row["prediction"]) for row in rows]
else:
    pairs = [
        (gold, row["model_answer"]) for row in rows for gold in (row["gt"], row["gt_value"]) if gold
    ]

start = time.process_time()
theirs = [verify(parse(gold), parse(prediction)) for gold, prediction in pairs]
seconds = time.process_time() - start
print(f"math-verify: {len(pairs)} pairs in {seconds:.1f} s, {len(pairs) / seconds:.0f} a second of one core's time, {sum(theirs)} the same")

print("ours:", subprocess.run([arguments.ours, arguments.pairs], capture_output=True, text=True, check=True).stdout.strip())
shown = subprocess.run([arguments.ours, arguments.pairs, "--show"], capture_output=True, text=True, check=True)
ours = [json.loads(line) for line in shown.stdout.splitlines()]
different = [
    row | {"math_verify": verdict} for row, verdict in zip(ours, theirs, strict=True) if row["same"] != verdict
]
print(f"verdicts that differ: {len(different)}")
if arguments.differences:
    json.dump(different, open(arguments.differences, "w"), indent=1, ensure_ascii=False)
