"""Makes golden.json: random verdicts and We-Math's measures of them, restated from the paper.

A problem has the verdicts of its steps and of the whole. Counting over all problems:
IK  whole wrong, a step wrong          IG  whole wrong, every step right
CM  whole right, every step right      RM  whole right, a step wrong           (strict)
CM  whole right, a step right          RM  whole right, every step wrong       (loose)
RM is a share of CM + RM, the others of all problems; score = 1 - IK - IG / 2 - rote problems.

Run: python3 golden.py > golden.json
"""

import json
import random


def measures(problems):
    total = len(problems)
    out = {}
    steps = [s for p in problems for s in p["steps"]]
    out["S1"] = sum(steps) / len(steps)
    for n in (2, 3):
        wholes = [p["whole"] for p in problems if len(p["steps"]) == n]
        if wholes:
            out[f"S{n}"] = sum(wholes) / len(wholes)
    ik = sum(not p["whole"] and not all(p["steps"]) for p in problems)
    ig = sum(not p["whole"] and all(p["steps"]) for p in problems)
    out["IK"], out["IG"] = ik / total, ig / total
    for name, mastered in (("strict", all), ("loose", any)):
        cm = sum(p["whole"] and mastered(p["steps"]) for p in problems)
        rm = sum(p["whole"] and not mastered(p["steps"]) for p in problems)
        out[f"CM_{name}"] = cm / total
        if cm + rm:
            out[f"RM_{name}"] = rm / (cm + rm)
        out[f"score_{name}"] = 1 - ik / total - ig / total / 2 - rm / total
    return out


def main():
    rng = random.Random(20)
    cases = []
    for i in range(24):
        skill = rng.random() if i > 2 else (0.0, 1.0, 0.5)[i]
        problems, verdicts = [], []
        for number in range(rng.randint(1, 12)):
            n = rng.choice((2, 3))
            problem = {
                "steps": [rng.random() < skill for _ in range(n)],
                "whole": rng.random() < skill,
            }
            problems.append(problem)
            name = f"{n}steps_{number}"
            for step, right in enumerate(problem["steps"], 1):
                verdicts.append([name, f"{n}steps_{step}", right])
            verdicts.append([name, f"{n}steps_multi", problem["whole"]])
        rng.shuffle(verdicts)
        cases.append({"verdicts": verdicts, "measures": measures(problems)})
    print(json.dumps(cases, separators=(",", ":")))


main()
