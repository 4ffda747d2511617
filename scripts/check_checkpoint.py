"""Checks that transformers agrees with one of our checkpoint folders.

    math-llava logits --model DIR --image FILE --prompt TEXT --out logits.safetensors
    python scripts/check_checkpoint.py DIR --image FILE --prompt TEXT --logits logits.safetensors

Needs torch, transformers (4.57.1 tried), pillow and safetensors. It loads DIR with
LlavaForConditionalGeneration, AutoProcessor, CLIPImageProcessor and AutoTokenizer, and fails unless
no weight is missing or unexpected, the token ids are the same, every pixel is within one level of
PIL's, and the logits agree to 1e-4 of the largest. Exit code 0: all agree; 1: something does not.
Without --logits only the loading is checked.
"""

import argparse
import pathlib
import sys

import torch
from PIL import Image
from safetensors import safe_open
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    CLIPImageProcessor,
    LlavaForConditionalGeneration,
)

V1 = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. "
)
# As in LLaVA: between f32 on two programs only the order of summation differs.
TOLERANCE = 1e-4


def square(image, mean):
    """LLaVA's expand2square."""
    if image.width == image.height:
        return image
    side = max(image.size)
    result = Image.new("RGB", (side, side), tuple(int(x * 255) for x in mean))
    result.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return result


def flatten(image):
    """8-bit RGB, transparency over white."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--image", type=pathlib.Path)
    parser.add_argument("--prompt")
    parser.add_argument("--logits", type=pathlib.Path, help="what `math-llava logits` wrote")
    arguments = parser.parse_args()
    folder = arguments.folder
    failures = []

    def check(what, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'} {what}{': ' + detail if detail else ''}")
        if not holds:
            failures.append(what)

    model, report = LlavaForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    model.eval()
    for kind in ["missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"]:
        found = report.get(kind) or []
        check(f"no {kind}", not found, ", ".join(map(str, found))[:300])
    processor = AutoProcessor.from_pretrained(folder)
    clip = CLIPImageProcessor.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    check(
        "the image token is the model's",
        tokenizer.convert_tokens_to_ids("<image>") == model.config.image_token_index,
    )
    check("the tokenizer fits the embedding", len(tokenizer) <= model.config.text_config.vocab_size)

    if arguments.logits:
        if not arguments.image or arguments.prompt is None:
            parser.error("--logits needs the --image and --prompt it was made with")
        with safe_open(arguments.logits, "pt") as file:
            ours = {key: file.get_tensor(key) for key in file.keys()}
        image = flatten(Image.open(arguments.image))
        system = V1 if getattr(model.config, "conversation_template", "v1") == "v1" else ""
        text = f"{system}USER: <image>\n{arguments.prompt.strip()} ASSISTANT:"
        message = {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": arguments.prompt.strip()}],
        }
        rendered = processor.apply_chat_template([message], add_generation_prompt=True)
        check("the chat template gives the same text", rendered == "<s>" + text, repr(rendered[:80]))
        theirs = processor(images=image, text=text, return_tensors="pt")
        same = theirs["input_ids"][0].tolist() == ours["input_ids"].tolist()
        check("token ids", same, f"{len(ours['input_ids'])} tokens")

        pixels = clip(square(image, clip.image_mean), return_tensors="pt")["pixel_values"]
        std = torch.tensor(clip.image_std).reshape(1, 3, 1, 1)
        for name, other in [("CLIPImageProcessor", pixels), ("AutoProcessor", theirs["pixel_values"])]:
            levels = ((other - ours["pixel_values"]) * std * 255).abs()
            exact = (levels < 0.5).double().mean().item()
            check(
                f"pixels against {name}",
                levels.max().item() < 1.01,
                f"at most {levels.max().item():.3f} levels off, {exact:.2%} exact",
            )

        with torch.no_grad():
            logits = model(
                input_ids=ours["input_ids"][None], pixel_values=ours["pixel_values"]
            ).logits[0]
        error = (logits - ours["logits"]).abs().max() / logits.abs().max()
        check("logits", error.item() < TOLERANCE, f"largest difference {error.item():.2e} of the largest logit")
        agree = (logits.argmax(-1) == ours["logits"].argmax(-1)).double().mean().item()
        check("next tokens", agree == 1.0, f"{agree:.2%} equal")
    if failures:
        print(f"{len(failures)} checks failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
