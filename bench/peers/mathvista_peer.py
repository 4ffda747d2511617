"""MathVista's official scoring rules in Python, timed: the peer of crates/eval/examples/score_speed.rs.

    python bench/peers/mathvista_peer.py OUTPUTS [TIMES]

Written from the description of the rules; does the work of the authors' scorer between reading and
writing: every row normalised and compared, the subgroups counted. Two ways of counting: plain
dictionaries, and a pandas table filtered once for each group, which is how the authors do it.
Needs the package Levenshtein; pandas for the second way.
"""

import json
import re
import sys
import time

from Levenshtein import distance

KEYS = ["question_type", "answer_type", "language", "source", "category", "task", "context", "grade", "skills"]


def prediction(row):
    found = row["extraction"]
    if row["question_type"] == "multi_choice":
        found = found.strip() if isinstance(found, str) else str(found)
        letters = re.findall(r"\(([a-zA-Z])\)", found)
        if letters:
            found = letters[0].upper()
        options = [chr(ord("A") + i) for i in range(len(row["choices"]))]
        if found in options:
            return row["choices"][options.index(found)]
        far = [distance(found, choice) for choice in row["choices"]]
        return row["choices"][far.index(min(far))]
    try:
        if row["answer_type"] == "integer":
            return str(int(float(found)))
        if row["answer_type"] == "float":
            return str(round(float(found), int(row["precision"])))
        return str(found)
    except (TypeError, ValueError, OverflowError):
        return None


def verdicts(rows):
    return {pid: prediction(row) == row["answer"] for pid, row in rows.items()}


def with_dictionaries(rows):
    right = verdicts(rows)
    groups = {}
    for pid, row in rows.items():
        for key in KEYS:
            names = row[key] if key in row else row["metadata"][key]
            for name in set(names) if key == "skills" else [names]:
                group = groups.setdefault((key, name), [0, 0])
                group[0] += right[pid]
                group[1] += 1
    return sum(right.values())


def with_tables(rows):
    import pandas

    right = verdicts(rows)
    flat = {pid: {**row, **row["metadata"], "right": right[pid]} for pid, row in rows.items()}
    table = pandas.DataFrame(flat).T
    for key in KEYS:
        names = {s for skills in table[key] for s in skills} if key == "skills" else table[key].unique()
        for name in names:
            if key == "skills":
                part = table[table[key].apply(lambda skills: name in skills)]
            else:
                part = table[table[key] == name]
            len(part[part["right"] == True]), len(part)  # noqa: E712
    return sum(right.values())


def timed(work, rows, times):
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        correct = work(rows)
        spent.append((time.perf_counter() - started) * 1e3)
    spent.sort()
    return f"{correct}/{len(rows)}, {spent[0]:.2f} ms (least), {spent[len(spent) // 2]:.2f} ms (median)"


if __name__ == "__main__":
    started = time.perf_counter()
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = json.load(file)
    print(f"read in {(time.perf_counter() - started) * 1e3:.1f} ms")
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    print("dictionaries:", timed(with_dictionaries, rows, times))
    try:
        print("tables:", timed(with_tables, rows, times))
    except ImportError:
        print("tables: pandas is not there")
