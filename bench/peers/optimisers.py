# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0", "bitsandbytes==0.50.2"]
# ///
"""Optimisers of PyTorch and bitsandbytes on the CPU: parameters a second, one line of JSON each.

    python bench/peers/optimisers.py [--parameters 100000000] [--tensor 2883584] [--steps 5] [--threads 2]

AdamW as in the recipe: (0.9, 0.999), 1e-8, no decay. The parameters are tensors of 1024 x 2816, as the
benchmark's MLP has; gradients stay the same, which costs the same. The optimisers take turns, a step each, so that
what else the machine does falls on all alike. `bytes` is what a parameter keeps: weight, gradient and
moments.

bitsandbytes 0.50.2 from PyPI has 8-bit AdamW for CPUs (`optimizer_update_8bit_blockwise` in its CPU back end); where
the package is not installed it is left out and said so.
"""

import argparse
import json
import statistics
import time

import torch

HYPER = dict(lr=2e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)


def bitsandbytes_adamw(parameters):
    import bitsandbytes

    return bitsandbytes.optim.AdamW8bit(parameters, **HYPER)


def torch_adamw(**how):
    return lambda parameters: torch.optim.AdamW(parameters, **HYPER, **how)


OPTIMISERS = {
    "torch f32, fused": (torch.float32, torch_adamw(fused=True)),
    "torch f32, foreach": (torch.float32, torch_adamw(foreach=True)),
    "torch bf16, fused": (torch.bfloat16, torch_adamw(fused=True)),
    "torch bf16, foreach": (torch.bfloat16, torch_adamw(foreach=True)),
    "bitsandbytes 8-bit, f32 weights": (torch.float32, bitsandbytes_adamw),
    "bitsandbytes 8-bit, bf16 weights": (torch.bfloat16, bitsandbytes_adamw),
}


def state_bytes(optimizer):
    tensors = [t for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t)]
    # A map that all tensors share counts once.
    return sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors if t.numel() > 1}.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=int, default=100_000_000)
    parser.add_argument("--tensor", type=int, default=1024 * 2816, help="parameters of one tensor")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="parts of names")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    count = max(1, round(args.parameters / args.tensor))
    total = count * args.tensor
    running = {}
    for name, (kind, make) in OPTIMISERS.items():
        if args.only and not any(part in name for part in args.only):
            continue
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(args.tensor).mul_(0.02).to(kind)) for _ in range(count)]
        for p in parameters:
            p.grad = torch.randn(args.tensor).mul_(1e-3).to(kind)
        try:
            optimizer = make(parameters)
            optimizer.step()  # makes the moments
        except (ImportError, NotImplementedError, RuntimeError) as error:
            print(json.dumps({"optimiser": name, "left_out": str(error).splitlines()[0]}), flush=True)
            continue
        running[name] = (optimizer, parameters, [])
    for _ in range(args.steps):
        for optimizer, _, times in running.values():
            started = time.perf_counter()
            optimizer.step()
            times.append(time.perf_counter() - started)
    for name, (optimizer, parameters, times) in running.items():
        kept = 2 * parameters[0].element_size() * total + state_bytes(optimizer)
        line = {
            "optimiser": name,
            "parameters": total,
            "threads": args.threads,
            "seconds": round(statistics.median(times), 5),
            "million_parameters_per_second": round(total / statistics.median(times) / 1e6, 1),
            "bytes": round(kept / total, 3),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
