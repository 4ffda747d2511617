"""Checks that transformers and PEFT open what `math-llava convert` and training write.

    math-llava convert MODEL OUT [--adapter DIR]
    python scripts/check_convert.py OUT --like MODEL [--adapter DIR]

Needs torch, transformers (4.57.1 tried), safetensors, and peft (0.21.2 tried) with --adapter. OUT and
MODEL are folders of `LlavaForConditionalGeneration` or of a decoder alone. Fails unless OUT loads with
no weight missing or unexpected and gives MODEL's logits (with the adapter in use, where one is given)
on random token ids and, where it sees, a random image. The tolerance follows from OUT's type. Exit
code 0: all agree; 1: something does not.
"""

import argparse
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, LlavaForConditionalGeneration

# Shares of the largest logit: summation order in f32, eleven and eight bits of mantissa otherwise.
TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 8e-2}


def load(folder, strict):
    config = json.loads((folder / "config.json").read_text())
    kind = LlavaForConditionalGeneration if config["model_type"] == "llava" else AutoModelForCausalLM
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if strict and (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"]):
        sys.exit(f"{folder}: {info}")
    return model.eval(), config


def logits(model, config):
    torch.manual_seed(0)
    text = config.get("text_config", config)
    vocabulary = text.get("vocab_size", 32000)
    ids = torch.randint(5, min(vocabulary, 288), (1, 24))
    inputs = {"input_ids": ids}
    if "vision_config" in config:
        image = config.get("image_token_index", config.get("image_token_id"))
        ids[ids == image] = 6
        count = model.config.image_seq_length
        inputs["input_ids"] = torch.cat([ids[:, :4], torch.full((1, count), image), ids[:, 4:]], 1)
        side = config["vision_config"].get("image_size", 336)
        inputs["pixel_values"] = torch.randn(1, 3, side, side)
    with torch.no_grad():
        return model(**inputs).logits


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--like", type=pathlib.Path, required=True)
    parser.add_argument("--adapter", type=pathlib.Path)
    arguments = parser.parse_args()
    written, config = load(arguments.out, strict=True)
    model, other = load(arguments.like, strict=False)
    if arguments.adapter:
        import peft

        model = peft.PeftModel.from_pretrained(model, arguments.adapter).eval()
    found, expected = logits(written, config), logits(model, other)
    width = min(found.shape[-1], expected.shape[-1])
    off = (found[..., :width] - expected[..., :width]).abs().max() / expected.abs().max()
    dtype = config.get("dtype") or config.get("torch_dtype")
    print(f"{arguments.out}: {dtype}, largest difference {off:.2e} of the largest logit")
    if not off < TOLERANCE[dtype]:
        sys.exit(f"more than {TOLERANCE[dtype]}")


if __name__ == "__main__":
    main()
