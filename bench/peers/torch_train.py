# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0", "transformers==4.57.1", "pillow"]
# ///
"""LLaVA-style training in PyTorch and transformers, as the peer of `math-llava train`: one line of JSON a step.

    python bench/peers/torch_train.py --model MODEL --data OUT/train_samples_all_tuning.json \\
        --images OUT/data_images [--steps 6] [--batch 4] [--accumulate 1] [--threads 2]
        [--attn sdpa|eager] [--optimizer foreach|fused|loop] [--gradient-checkpointing] [--compile]

MODEL is a folder of `make_model.py`: both sides begin with the same weights. As in LLaVA's second stage:

- each pair is its own sequence with its own 576 image tokens, in template v1, labels on the answer and `</s>`
  only; batches are drawn in random order and padded to their longest;
- the tower is frozen and runs for every pair, also where pairs of a batch show the same image;
- weights, gradients and AdamW's moments are bf16 (what transformers' trainer does with a model loaded in bf16;
  DeepSpeed, which LLaVA runs under, holds f32 copies besides: more memory and time than here);
- clipping at 1.0 over all gradients, warm-up 0.03 and cosine, learning rate 2e-5, no weight decay.

What is in the peer's favour: images are decoded, padded and normalised before the first step and not timed; no
f32 master weights; no gradient checkpointing unless asked for, which the recipe has on (it costs a fourth
pass and saves memory); logits of a batch, not of a loop over its rows. LLaVA's `group_by_modality_length` puts
sequences of like length together; here all have an image and lengths within a few per cent, `padding` in the
summary says how many, so it would change nothing.

`train_speed.py` tries the settings in turn and takes the fastest as the peer.
"""

import argparse
import json
import math
import pathlib
import random
import statistics
import time

import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration, LlavaImageProcessor

from llava_v1 import IGNORED, encode, open_tokenizer


def peak_mib():
    """Largest resident memory since the start, or since `forget_peak`."""
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("no VmHWM in /proc/self/status: run this on Linux")


def forget_peak():
    pathlib.Path("/proc/self/clear_refs").write_text("5")


class Pairs:
    def __init__(self, args, config):
        tokenizer = open_tokenizer(args.tokenizer or args.model)
        processor = LlavaImageProcessor.from_pretrained(args.model)
        vision = config.vision_config
        image_tokens = (vision.image_size // vision.patch_size) ** 2
        self.pad, self.pixels, self.items = config.pad_token_id or 0, {}, []
        for entry in json.loads(args.data.read_text()):
            human, gpt = (turn["value"] for turn in entry["conversations"])
            ids, labels = encode(tokenizer, human, gpt, image_tokens, config.image_token_index)
            self.items.append((ids[: args.max_length], labels[: args.max_length], entry["image"]))
            if entry["image"] not in self.pixels:
                with Image.open(args.images / entry["image"]) as image:
                    pixels = processor(image, return_tensors="pt")["pixel_values"][0]
                self.pixels[entry["image"]] = pixels.to(torch.bfloat16)

    def batch(self, chosen):
        """`[batch, tokens]` ids, mask and labels, `[batch, 3, side, side]` pixels, and the tokens without padding."""
        items = [self.items[i] for i in chosen]
        longest = max(len(ids) for ids, _, _ in items)
        fill = lambda row, value: row + [value] * (longest - len(row))  # noqa: E731
        rows = {
            "input_ids": torch.tensor([fill(ids, self.pad) for ids, _, _ in items]),
            "labels": torch.tensor([fill(labels, IGNORED) for _, labels, _ in items]),
            "attention_mask": torch.tensor([fill([1] * len(ids), 0) for ids, _, _ in items]),
            "pixel_values": torch.stack([self.pixels[image] for _, _, image in items]),
        }
        return rows, sum(len(ids) for ids, _, _ in items)


def order(count, needed, seed):
    """Indices of pairs, shuffled anew each epoch."""
    rng, out = random.Random(seed), []
    while len(out) < needed:
        epoch = list(range(count))
        rng.shuffle(epoch)
        out += epoch
    return out[:needed]


def rate(step, steps, peak, warmup_ratio):
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizer", type=pathlib.Path, help="default: the model's")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--warm-up", type=int, default=1, help="steps that the medians leave out")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--accumulate", type=int, default=1, help="batches an update")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--attn", choices=["eager", "sdpa"], default="sdpa")
    parser.add_argument("--optimizer", choices=["foreach", "fused", "loop"], default="fused")
    parser.add_argument("--fused", dest="optimizer", action="store_const", const="fused")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--compile", action="store_true", help="the decoder through torch.compile")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.steps <= args.warm_up:
        parser.error("--steps must be more than --warm-up")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    model = LlavaForConditionalGeneration.from_pretrained(
        args.model, dtype=torch.bfloat16, attn_implementation=args.attn
    )
    model.config.use_cache = model.config.text_config.use_cache = False
    model.train()
    model.model.vision_tower.requires_grad_(False).eval()
    decoder = model.model.language_model
    if args.gradient_checkpointing:
        decoder.gradient_checkpointing_enable({"use_reentrant": False})
    if args.compile:
        decoder.compile(dynamic=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    how = {"foreach": {"foreach": True}, "fused": {"fused": True}, "loop": {"foreach": False}}[args.optimizer]
    optimizer = torch.optim.AdamW(trained, lr=args.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, **how)
    pairs = Pairs(args, model.config)
    update = args.batch * args.accumulate
    shuffled = order(len(pairs.items), args.steps * update, args.seed)
    forget_peak()
    lines, padded_tokens = [], 0
    for step in range(args.steps):
        started = time.perf_counter()
        lr = rate(step, args.steps, args.lr, 0.03)
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss, tokens, data_seconds = 0.0, 0, 0.0
        for part in range(args.accumulate):
            at = step * update + part * args.batch
            asked = time.perf_counter()
            rows, real = pairs.batch(shuffled[at : at + args.batch])
            data_seconds += time.perf_counter() - asked
            tokens += real
            padded_tokens += rows["input_ids"].numel()
            out = model(**rows, use_cache=False).loss / args.accumulate
            out.backward()
            loss += out.item()
            del out
        norm = torch.nn.utils.clip_grad_norm_(trained, 1.0).item()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - started
        line = {
            "step": step,
            "seconds": round(seconds, 4),
            "data_seconds": round(data_seconds, 4),
            "samples": update,
            "tokens": tokens,
            "samples_per_second": round(update / seconds, 5),
            "tokens_per_second": round(tokens / seconds, 2),
            "loss": round(loss, 6),
            "grad_norm": round(norm, 5),
            "lr": lr,
            "peak_memory_mib": round(peak_mib(), 1),
        }
        lines.append(line)
        print(json.dumps(line), flush=True)
    timed = lines[args.warm_up :]
    median = lambda name: statistics.median(line[name] for line in timed)  # noqa: E731
    count = lambda parameters: sum(p.numel() for p in parameters)  # noqa: E731
    summary = {
        "torch": torch.__version__,
        "settings": {k: getattr(args, k) for k in ["batch", "accumulate", "threads", "attn", "optimizer"]}
        | {"gradient_checkpointing": args.gradient_checkpointing, "compile": args.compile},
        "steps": len(timed),
        "seconds": round(median("seconds"), 4),
        "samples_per_second": round(median("samples_per_second"), 5),
        "tokens_per_second": round(median("tokens_per_second"), 2),
        "peak_memory_mib": lines[-1]["peak_memory_mib"],
        "padding": round(1 - sum(line["tokens"] for line in lines) / padded_tokens, 4),
        "trained_parameters": count(trained),
        "frozen_parameters": count(model.parameters()) - count(trained),
    }
    print(json.dumps({"summary": summary}), flush=True)


if __name__ == "__main__":
    main()
