"""TF-IDF and K-means by scikit-learn over a file of questions, one a line.

    python3 bench/python/cluster_speed.py make DATA FILE.txt 100000
    python3 bench/python/cluster_speed.py run FILE.txt

`make` takes the questions of TabMWP, ChartQA, FigureQA, VQA-RAD and Super-CLEVR below DATA in turn,
round after round; from the second round on with other numbers and, in names, other letters, so
that all are different. `run` prints seconds and inertia for k = 5, k-means++, n_init = 1.
Needs scikit-learn (1.7.2 tried).
"""

import json
import pathlib
import random
import re
import sys
import time


def real(data):
    read = lambda path: json.loads((data / path).read_text())
    yield from (p["question"] for p in read("tabmwp/problems_dev1k.json").values())
    for part in ("human", "augmented"):
        yield from (row["query"] for row in read(f"chartqa/test/test_{part}.json"))
    yield from (q["question_string"] for q in read("figureqa/sample_train1/qa_pairs.json")["qa_pairs"])
    yield from (row["question"] for row in read("vqa_rad/trainset.json"))
    yield from (q["question"] for q in read("super_clevr/superCLEVR_questions_5.json")["questions"])


def altered(question, rng):
    question = re.sub(r"\d", lambda m: str(rng.randrange(1, 10)), question)
    swap = lambda m: m[0][:-1] + rng.choice("aeiou")
    return re.sub(r"\b[A-Z][a-z]{3,}\b", lambda m: swap(m) if m.start() else m[0], question)


def make(data, path, count):
    rng = random.Random(1)
    base = sorted({" ".join(q.split()) for q in real(pathlib.Path(data))})
    rng.shuffle(base)
    seen, turn = {}, 0
    while len(seen) < count:
        for question in base:
            text = question if turn == 0 else altered(question, rng)
            seen.setdefault(text if turn < 20 else f"{text} (case {turn})", None)
            if len(seen) == count:
                break
        turn += 1
    pathlib.Path(path).write_text("\n".join(seen) + "\n")
    print(f"{len(base)} real questions, {count} written in {turn} rounds")


def run(path):
    from sklearn.cluster import KMeans
    from sklearn.feature_extraction.text import TfidfVectorizer

    questions = pathlib.Path(path).read_text().splitlines()
    start = time.perf_counter()
    matrix = TfidfVectorizer().fit_transform(questions)
    vectors = time.perf_counter()
    found = KMeans(n_clusters=5, n_init=1, random_state=1).fit(matrix)
    end = time.perf_counter()
    print(
        f"{len(questions)} questions, {matrix.shape[1]} words: TF-IDF {vectors - start:.2f} s, "
        f"K-means {end - vectors:.2f} s ({found.n_iter_} iterations), inertia {found.inertia_:.0f}"
    )


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        run(sys.argv[2])
