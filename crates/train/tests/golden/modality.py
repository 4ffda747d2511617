"""The golden order of LLaVA's sampler by modality and length.

Written from the algorithm's description: conversations with images (positive lengths) and without
(negative) are permuted apart; each is cut into megabatches (devices * per_device); a megabatch is
sorted by length, longest first, and dealt out so that each device's share has the same number and
about the same total length, or in turn where the number does not divide; the last megabatch of
either kind goes to the end, both sorted together by index; the others are permuted.

Python 3.11 or newer, no packages: python modality.py > modality.json
"""

import json
import random


def deal(indices, lengths, devices):
    if len(indices) % devices:
        return [indices[turn::devices] for turn in range(devices)]
    shares, totals = [[] for _ in range(devices)], [0.0] * devices
    for index in indices:
        at = totals.index(min(totals))
        shares[at].append(index)
        totals[at] += lengths[index]
        if len(shares[at]) == len(indices) // devices:
            totals[at] = float("inf")
    return shares


def one_kind(lengths, per_device, devices, permutation):
    size = per_device * devices
    order = []
    for start in range(0, len(lengths), size):
        batch = sorted(permutation[start : start + size], key=lambda i: lengths[i], reverse=True)
        for share in deal(batch, lengths, devices):
            order += share
    return order


def both_kinds(lengths, per_device, devices, permute):
    if all(x > 0 for x in lengths) or all(x < 0 for x in lengths):
        return one_kind([abs(x) for x in lengths], per_device, devices, permute(len(lengths)))
    size = per_device * devices
    kept, last = [], []
    for sign in (1, -1):
        of_kind = [i for i, x in enumerate(lengths) if sign * x > 0]
        own = [sign * lengths[i] for i in of_kind]
        order = [of_kind[i] for i in one_kind(own, per_device, devices, permute(len(own)))]
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        kept += batches[:-1]
        last += batches[-1]
    order = [i for at in permute(len(kept)) for i in kept[at]]
    return order + sorted(last)


def main():
    rng = random.Random(7)
    cases = []
    for images, texts, per_device, devices in [
        (20, 9, 2, 2), (16, 8, 4, 1), (16, 8, 2, 2), (3, 1, 4, 2),
        (13, 0, 2, 3), (0, 7, 3, 1), (12, 12, 3, 2), (25, 14, 2, 3),
    ]:
        lengths = [rng.randint(1, 30) for _ in range(images)]
        lengths += [-rng.randint(1, 30) for _ in range(texts)]
        rng.shuffle(lengths)
        given = []

        def permute(n):
            given.append(rng.sample(range(n), n))
            return given[-1]

        order = both_kinds(lengths, per_device, devices, permute)
        cases.append({
            "lengths": lengths, "per_device": per_device, "devices": devices,
            "permutations": given, "order": order,
        })
    print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")


main()
