"""Makes sampling.json: what transformers' logits processors make of fixed logits.

    pip install torch==2.11.0 transformers==4.57.1
    python sampling.py

Per case the processors run in the order of `GenerationMixin._get_logits_processor`: repetition
penalty, temperature, top-k, top-p, min-p. Left-out tokens are null. Logits have ties, and a peaked, a
flat and a negative row.
"""

import json
import pathlib

import torch
import transformers
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert transformers.__version__ == "4.57.1", transformers.__version__
torch.manual_seed(0)
WIDTH = 24
LOGITS = torch.stack(
    [
        torch.randn(WIDTH) * 3,
        torch.randn(WIDTH) * 0.1,
        torch.cat([torch.tensor([9.0, 4.0, 4.0, 4.0]), torch.randn(WIDTH - 4) - 3]),
        -torch.rand(WIDTH) * 5 - 1,
        torch.linspace(-2, 2, WIDTH).round(decimals=1),
    ]
)
LOGITS = (LOGITS * 1000).round() / 1000
SEEN = [0, 2, 5, 5, 23, 11]
NONE = dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0)
CASES = [
    {},
    dict(temperature=0.7),
    dict(temperature=2.5),
    dict(top_k=1),
    dict(top_k=3),
    dict(top_k=100),
    dict(top_p=0.5),
    dict(top_p=0.9),
    dict(top_p=0.01),
    dict(min_p=0.05),
    dict(min_p=0.4),
    dict(min_p=1.0),
    dict(repetition_penalty=1.3),
    dict(repetition_penalty=0.8),
    dict(temperature=0.6, top_k=10, top_p=0.8, min_p=0.1, repetition_penalty=1.2),
    dict(temperature=1.5, top_k=5, top_p=0.95),
]


def processors(case):
    if case["repetition_penalty"] != 1.0:
        yield RepetitionPenaltyLogitsProcessor(case["repetition_penalty"])
    if case["temperature"] != 1.0:
        yield TemperatureLogitsWarper(case["temperature"])
    if case["top_k"]:
        yield TopKLogitsWarper(case["top_k"])
    if case["top_p"] < 1.0:
        yield TopPLogitsWarper(case["top_p"])
    if case["min_p"]:
        yield MinPLogitsWarper(case["min_p"])


def main():
    cases = []
    ids = torch.tensor([SEEN] * len(LOGITS))
    for given in CASES:
        case = NONE | given
        scores = LOGITS.clone()
        for processor in processors(case):
            scores = processor(ids, scores)
        rows = [[None if s == float("-inf") else round(s, 6) for s in row] for row in scores.tolist()]
        cases.append(case | {"scores": rows})
    golden = {
        "logits": [[round(value, 3) for value in row] for row in LOGITS.tolist()],
        "seen": SEEN,
        "cases": cases,
    }
    path = pathlib.Path(__file__).parent / "sampling.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


main()
