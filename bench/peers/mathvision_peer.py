"""How long MATH-V's own evaluator takes to decide on a file of outputs.

Needs a checkout of https://github.com/mathllm/MATH-V at 1d36118 and Python 3.11 with latex2sympy2 1.9.1, sympy 1.14.0,
antlr4-python3-runtime 4.7.2, numpy and tqdm.

Run: python mathvision_peer.py CHECKOUT DATA OUTPUTS [ROWS]

DATA is MATH-V's folder with data/test.jsonl, OUTPUTS rows with an extracted `model_answer`; only the first ROWS are
timed where that is given. Prints how many are right, as in the rows, and the seconds; reading is not in them.
"""

import json
import sys
import time

sys.path.insert(0, sys.argv[1] + "/evaluation")
from utils import is_equal  # noqa: E402


def main():
    items = {row["id"]: row for row in map(json.loads, open(sys.argv[2] + "/data/test.jsonl"))}
    rows = [json.loads(line) for line in open(sys.argv[3])]
    rows = rows[: int(sys.argv[4])] if len(sys.argv) > 4 else rows
    started, right, agree = time.perf_counter(), 0, 0
    for row in rows:
        item = items[row["id"]]
        options, answer = item["options"], item["answer"]
        value = options[ord(answer) - ord("A")] if options and len(answer) == 1 else ""
        correct = is_equal(answer, row["model_answer"]) or (value != "" and is_equal(value, row["model_answer"]))
        right += correct
        agree += correct == row["correct"]
    spent = time.perf_counter() - started
    print(f"{sys.argv[3]}: {right} of {len(rows)} right, {agree} as published, {spent:.2f} s")


main()
