"""The table of bench/ablation.sh: each arm's held-out accuracy over the seeds, and its difference from `selected`.

    python3 bench/ablation_table.py FOLDER
    python3 bench/ablation_table.py --levels RUN     how many images of each complexity a run has

Intervals are Student's t over the seeds (95%); the paired difference is taken within a seed, since its arms share
base, figures and steps.
"""

import glob
import json
import math
import os
import sys

ARMS = ["random", "selected", "askimg", "compq", "rephq", "simpq", "all"]
# Two-sided 95% points of Student's t by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def levels(run):
    manifest = json.load(open(os.path.join(run, "select", "manifest.json")))
    counts = [0] * 4
    for row in manifest["results"]["plan"]["rows"]:
        counts[row["level"]] += row["available"]
    return counts


def spread(values):
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, float("nan")
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, T95.get(len(values) - 1, 1.96) * math.sqrt(variance / len(values))


def main():
    if sys.argv[1] == "--levels":
        print(json.dumps(levels(sys.argv[2])))
        return
    seeds = sorted(glob.glob(os.path.join(sys.argv[1], "seed-*")))
    scores, pairs = {}, {}
    for arm in ARMS:
        for seed in seeds:
            try:
                results = json.load(open(os.path.join(seed, arm, "eval", "manifest.json")))["results"]
                synth = json.load(open(os.path.join(seed, arm, "synth", "manifest.json")))
            except FileNotFoundError:
                continue
            scores.setdefault(arm, {})[seed] = 100 * results["overall"]["model"]["value"]
            pairs.setdefault(arm, []).append(synth["counts"]["samples"] if "counts" in synth else synth["samples"])
    print("| images and pairs | pairs | seeds | held-out accuracy | less `selected` |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for arm in ARMS:
        if arm not in scores:
            continue
        mean, half = spread(list(scores[arm].values()))
        both = [scores[arm][s] - scores["selected"][s] for s in scores[arm] if s in scores.get("selected", {})]
        gain, width = spread(both) if both else (float("nan"), float("nan"))
        counted = round(sum(pairs[arm]) / len(pairs[arm]))
        less = "" if arm == "selected" else f"{gain:+.1f} ± {width:.1f}"
        print(f"| {arm} | {counted:,} | {len(scores[arm])} | {mean:.1f} ± {half:.1f} | {less} |")


main()
