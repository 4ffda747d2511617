# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0"]
# ///
"""Records 50 steps of torch.optim.AdamW with gradient clipping: adamw.json, read by tests/adamw.rs.

The gradients are sines that both sides compute, so that only the optimiser is compared; weight
decay is off for the one-dimensional parameter, as in transformers' Trainer.
Tolerance 1e-6 relative: both sides work in f32, PyTorch fuses some operations.
"""

import json
import math
import pathlib

import torch

SHAPES = {"matrix": (3, 4), "bias": (5,)}
STEPS, CLIP, DECAY = 50, 1.0, 0.1


def value(name, index, step):
    return math.sin(0.7 * index + 1.3 * step + len(name)) * (2.0 if step % 7 == 0 else 0.1)


params = {
    name: torch.nn.Parameter(
        torch.tensor([value(name, i, 0) for i in range(math.prod(shape))]).reshape(shape)
    )
    for name, shape in SHAPES.items()
}
optimizer = torch.optim.AdamW(
    [
        {"params": [params["matrix"]], "weight_decay": DECAY},
        {"params": [params["bias"]], "weight_decay": 0.0},
    ],
    lr=1e-2,
    betas=(0.9, 0.95),
    eps=1e-8,
)
trace = []
for step in range(1, STEPS + 1):
    lr = 1e-2 * (1 + math.cos(math.pi * step / STEPS)) / 2
    for group in optimizer.param_groups:
        group["lr"] = lr
    for name, param in params.items():
        flat = torch.tensor([value(name, i, step) for i in range(param.numel())])
        param.grad = flat.reshape(param.shape)
    norm = torch.nn.utils.clip_grad_norm_(params.values(), CLIP).item()
    optimizer.step()
    trace.append(
        {"lr": lr, "norm": norm, **{n: p.detach().flatten().tolist() for n, p in params.items()}}
    )
out = {"torch": torch.__version__, "clip": CLIP, "weight_decay": DECAY, "trace": trace}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=0) + "\n")
