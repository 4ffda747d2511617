"""Writes crates/synth/tests/tfidf_golden.json: TF-IDF and K-means as scikit-learn computes them.

    python scripts/tfidf_golden.py > crates/synth/tests/tfidf_golden.json

Needs scikit-learn 1.7.2 (numpy 2.4.6, scipy 1.17.1). The questions are made here. Values have nine
places: the Rust test holds them to 1e-8. The inertia is that of 200 seeds of K-means with n_init=1,
for single seeds land in different minima; the Rust test compares the mean and the best.
"""

import json

from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer

COLOURS = ["red", "dark blue", "Olive", "chartreuse"]
QUESTIONS = [
    *(f"How many {c} bars are there in the figure?" for c in COLOURS),
    *(f"Is {c} the minimum?" for c in COLOURS),
    *(f"Does {c} have the lowest median value?" for c in COLOURS),
    *(f"What is the difference between {y} and {y + 3} in sales?" for y in range(2001, 2007)),
    *(f"Which year has the {n} highest population, in million?" for n in ("second", "third", "4th")),
    *(f"In triangle {t}, angle A = {a} degrees. Find angle B." for t, a in (("ABC", 40), ("DEF", 55), ("PQR", 72))),
    *(f"AB = {x}, BC = {x + 1}. What is the area of the rectangle?" for x in (3, 5, 12)),
    "A farmer sold 12.50 kg of apples at $3 each, 1,000 pears, and 7 plums. How much did he earn?",
    "A farmer bought 8 kg of apples at $3 each. How much did he pay? How much, how much?",
    "Look at the table. What is the mean of the numbers? (Unit: $)",
    "Look at the table. What is the median of the numbers?",
    "Look at the table. What is the mode of the numbers?",
    "What is the name of the part labelled snake_case_label?",
    "Which organ is the arrow pointing at? Don't guess.",
    "Is there evidence of a pleural effusion?",
    "Is the lung fully inflated?",
    "Are there more cars than trucks?",
    "What number of cyan matte objects are there?",
    "there are two tiny buses; what colour are they",
    "图中有多少个三角形?",
    "图中 三角形 的 面积 是多少",
    "Größe ÜBER alles: wie groß ist die Fläche?",
    "Σίσυφος ΣΟΦΟΣ",
    "x + y = ?",
    "",
    "HOW MANY RED BARS",
    "how_many 3x 4y 2021 2021 2021",
]

vectors = TfidfVectorizer()
matrix = vectors.fit_transform(QUESTIONS)
clusters = 5
inertia = [
    KMeans(n_clusters=clusters, n_init=1, random_state=seed).fit(matrix).inertia_ for seed in range(200)
]


def row(i):
    entries = sorted(zip(matrix[i].indices.tolist(), matrix[i].data.tolist()))
    return [[column, round(value, 9)] for column, value in entries]


def lines(items):
    return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]"


print('{"questions":', lines(QUESTIONS), ',"vocabulary":', json.dumps(vectors.get_feature_names_out().tolist(), ensure_ascii=False))
print(',"rows":', lines([row(i) for i in range(len(QUESTIONS))]))
print(',"clusters":', clusters, ',"inertia":', json.dumps([round(value, 6) for value in inertia]), "}")
