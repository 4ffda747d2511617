"""Checks that PEFT agrees with one of our adapter folders.

    python scripts/check_adapter.py BASE ADAPTER --logits logits.safetensors

Needs torch, transformers (4.57.1 tried), peft (0.21.2 tried) and safetensors. It loads BASE with
LlavaForConditionalGeneration and ADAPTER with PeftModel, and fails unless every tensor of the
adapter's file is in the model afterwards, and the logits of the file's `input_ids` and
`pixel_values` (of every eighth token) agree to 1e-4 of the largest with its `logits`, beside the
weights and merged into them. Exit code 0: all agree; 1: something does not.
"""

import argparse
import pathlib
import sys

import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import LlavaForConditionalGeneration

TOLERANCE = 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=pathlib.Path)
    parser.add_argument("adapter", type=pathlib.Path)
    parser.add_argument("--logits", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    failures = []

    def check(what, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'} {what}{': ' + detail if detail else ''}")
        if not holds:
            failures.append(what)

    model = LlavaForConditionalGeneration.from_pretrained(arguments.base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, arguments.adapter).eval()
    ours = load_file(arguments.adapter / "adapter_model.safetensors")
    theirs = get_peft_model_state_dict(model)
    differ = sorted(set(ours) ^ set(theirs))
    check("the same tensors", not differ, ", ".join(differ)[:300] or f"{len(ours)} of them")
    check("the same values", all(torch.equal(theirs[name], ours[name]) for name in set(ours) & set(theirs)))
    batch = load_file(arguments.logits)
    with torch.no_grad():
        beside = model(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"]).logits[:, ::8]
        merged = model.merge_and_unload()
        merged = merged(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"]).logits[:, ::8]
    for name, logits in [("beside the weights", beside), ("merged", merged)]:
        error = (logits - batch["logits"]).abs().max() / logits.abs().max()
        check(f"logits {name}", error.item() < TOLERANCE, f"largest difference {error.item():.2e} of the largest")
    if failures:
        print(f"{len(failures)} checks failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
