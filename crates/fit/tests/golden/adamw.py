# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0"]
# ///
"""Records 200 steps of torch.optim.AdamW, twice: adamw.json, read by tests/adamw.rs and
tests/adamw_forms.rs. Run with `uv run adamw.py`.

Both with a cosine schedule after a linear warm-up, gradient clipping, and weight decay on matrices
only, as in transformers' Trainer.

"trace": gradients are sines that both sides compute, so that only the optimiser is compared.
Tolerance 1e-6 relative: both sides work in f32, PyTorch fuses some operations.

"regression": a network of two layers learns another one's answers, to which noise is added; all
numbers come from a formula that both sides have. The losses are of the f32 run, against which the
forms with fewer bits are held; what each may differ by stands in the tests.
"""

import json
import math
import pathlib

import torch

STEPS, WARMUP, CLIP, DECAY = 200, 10, 1.0, 0.1
HYPER = {"betas": (0.9, 0.95), "eps": 1e-8}


def learning_rate(peak, step):
    """transformers' get_cosine_schedule_with_warmup, from step 0."""
    if step < WARMUP:
        return peak * step / WARMUP
    return peak * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def adamw(params):
    return torch.optim.AdamW(
        [
            {"params": [p for p in params if p.dim() > 1], "weight_decay": DECAY},
            {"params": [p for p in params if p.dim() == 1], "weight_decay": 0.0},
        ],
        **HYPER,
    )


def advance(optimizer, params, peak, step):
    lr = learning_rate(peak, step)
    for group in optimizer.param_groups:
        group["lr"] = lr
    norm = torch.nn.utils.clip_grad_norm_(params, CLIP).item()
    optimizer.step()
    optimizer.zero_grad()
    return lr, norm


def trace():
    shapes = {"matrix": (3, 4), "bias": (5,)}

    def value(name, index, step):
        return math.sin(0.7 * index + 1.3 * step + len(name)) * (2.0 if step % 7 == 0 else 0.1)

    def values(name, step):
        shape = shapes[name]
        return torch.tensor([value(name, i, step) for i in range(math.prod(shape))]).reshape(shape)

    params = {name: torch.nn.Parameter(values(name, 0)) for name in shapes}
    optimizer = adamw(params.values())
    steps = []
    for step in range(STEPS):
        for name, param in params.items():
            param.grad = values(name, step + 1)
        lr, norm = advance(optimizer, list(params.values()), 1e-2, step)
        record = {"lr": lr, "norm": norm}
        # Each step's numbers, and at times the weights.
        if step % 10 == 9 or step < 10:
            record |= {n: p.detach().flatten().tolist() for n, p in params.items()}
        steps.append(record)
    return {"weight_decay": DECAY, "clip": CLIP, "steps": steps}


def uniform(stream, count):
    """`count` numbers between -1 and 1: a multiplicative hash of the index."""
    out = []
    for index in range(count):
        x = (index * 0x9E3779B9 + stream * 0x85EBCA6B + 1) & 0xFFFFFFFF
        x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
        x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
        x ^= x >> 16
        out.append((x >> 8) / 2**23 - 1.0)
    return torch.tensor(out, dtype=torch.float32)


def regression():
    width, rows, peak, noise = 64, 512, 3e-3, 0.1

    def forward(x, first, first_bias, second, second_bias):
        return torch.tanh(x @ first.T + first_bias) @ second.T + second_bias

    def network(stream):
        def matrix(s):
            return uniform(s, width * width).reshape(width, width) * (3.0 / width) ** 0.5

        return [matrix(stream), uniform(stream + 1, width) * 0.1, matrix(stream + 2), uniform(stream + 3, width) * 0.1]

    x = uniform(1, rows * width).reshape(rows, width)
    target = forward(x, *network(10)) + noise * uniform(2, rows * width).reshape(rows, width)
    params = [torch.nn.Parameter(p) for p in network(20)]
    optimizer = adamw(params)
    losses = []
    for step in range(STEPS):
        loss = torch.nn.functional.mse_loss(forward(x, *params), target)
        loss.backward()
        losses.append(loss.item())
        advance(optimizer, params, peak, step)
    final = torch.nn.functional.mse_loss(forward(x, *params), target).item()
    return {"peak": peak, "noise": noise, "losses": losses, "final": final}


out = {"torch": torch.__version__, "trace": trace(), "regression": regression()}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=0) + "\n")
