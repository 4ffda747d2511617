"""Holds what TensorBoard reads of a run's event files against the run's metrics.jsonl.

    pip install tensorboard==2.21.0
    python crates/fit/tests/tensorboard/read_events.py RUN_FOLDER

RUN_FOLDER is a training's folder, with metrics.jsonl, evaluations.jsonl and tensorboard/ in it; one
that was stopped and went on is the better test. Exits with an error where anything differs.
"""

import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def as_f32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> None:
    folder = Path(sys.argv[1])
    accumulator = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    metrics = lines(folder / "metrics.jsonl")
    checks = [(f"train/{n}", {m["step"] + 1: m[n] for m in metrics}) for n in ("loss", "lr", "grad_norm")]
    evaluations = lines(folder / "evaluations.jsonl")
    if evaluations:
        checks.append(("eval/score", {e["step"]: e["score"] for e in evaluations}))
    for tag, expected in checks:
        found = [(e.step, e.value) for e in accumulator.Scalars(tag)]
        wanted = [(step, as_f32(value)) for step, value in sorted(expected.items())]
        assert found == wanted, f"{tag}: {found[:3]} ... against {wanted[:3]} ..."
    print(f"{len(tags)} tags, {len(metrics)} steps, {len(evaluations)} evaluations:", ", ".join(sorted(tags)))


if __name__ == "__main__":
    main()
