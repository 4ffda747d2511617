# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0", "transformers==4.57.1", "pillow"]
# ///
"""Writes a LLaVA with random weights as a llava-hf folder, which this project and transformers both load.

    python bench/peers/make_model.py OUT --tokenizer ../shared/data/tokenizer/llama
    python bench/peers/make_model.py OUT --tokenizer ... --hidden 64 --layers 2 --heads 4 --mlp 176 \\
        --tower-hidden 32 --tower-layers 2 --tower-heads 2 --tower-mlp 64          # tiny, for trials
    python bench/peers/make_model.py OUT --tokenizer ... --shape 7b                 # LLaVA-1.5-7B's, 14 GB

Defaults are the shape that training is measured at: a LLaMA of width 1024, 12 layers, 16 heads, MLP 2816,
and CLIP ViT-L/14-336, in bf16. The vocabulary is LLaMA's with `<image>` and `<pad>` added, and padded to
32,064 rows as llava-hf's is. The same arguments give the same weights.
"""

import argparse
import json
import pathlib

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

SHAPES = {
    "small": dict(hidden=1024, layers=12, heads=16, mlp=2816),
    "7b": dict(hidden=4096, layers=32, heads=32, mlp=11008),
    "13b": dict(hidden=5120, layers=40, heads=40, mlp=13824),
}
ROWS = 32064
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


def write_tokenizer(source, out):
    """LLaMA's tokenizer with `<image>` and `<pad>`; their ids."""
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ["<image>", "<pad>"]])
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {
        "tokenizer_class": "LlamaTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "image_token": "<image>",
        "add_bos_token": True,
        "add_eos_token": False,
        "model_max_length": 2048,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    return tokenizer.token_to_id("<image>"), tokenizer.token_to_id("<pad>")


def write_preprocessor(out, side):
    settings = {
        "image_processor_type": "LlavaImageProcessor",
        "processor_class": "LlavaProcessor",
        "do_pad": True,
        "do_resize": True,
        "size": {"shortest_edge": side},
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "resample": 3,
        "do_convert_rgb": True,
    }
    (out / "preprocessor_config.json").write_text(json.dumps(settings, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path, default=pathlib.Path("../shared/data/tokenizer/llama"))
    parser.add_argument("--shape", choices=SHAPES, default="small")
    for name in ["hidden", "layers", "heads", "mlp"]:
        parser.add_argument(f"--{name}", type=int, help="in place of the shape's")
    parser.add_argument("--kv-heads", type=int)
    parser.add_argument("--tower-hidden", type=int, default=1024)
    parser.add_argument("--tower-layers", type=int, default=24)
    parser.add_argument("--tower-heads", type=int, default=16)
    parser.add_argument("--tower-mlp", type=int, default=4096)
    parser.add_argument("--side", type=int, default=336)
    parser.add_argument("--patch", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shape = {k: getattr(args, k) or v for k, v in SHAPES[args.shape].items()}
    args.out.mkdir(parents=True, exist_ok=True)
    image, pad = write_tokenizer(args.tokenizer, args.out)
    write_preprocessor(args.out, args.side)
    text = LlamaConfig(
        hidden_size=shape["hidden"], num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"],
        num_key_value_heads=args.kv_heads or shape["heads"], intermediate_size=shape["mlp"], vocab_size=ROWS,
        max_position_embeddings=4096, rms_norm_eps=1e-5, pad_token_id=pad, bos_token_id=1, eos_token_id=2,
    )
    vision = CLIPVisionConfig(
        hidden_size=args.tower_hidden, intermediate_size=args.tower_mlp, num_hidden_layers=args.tower_layers,
        num_attention_heads=args.tower_heads, image_size=args.side, patch_size=args.patch, projection_dim=768,
    )
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=image, pad_token_id=pad,
        projector_hidden_act="gelu", vision_feature_layer=-2, vision_feature_select_strategy="default",
        image_seq_length=(args.side // args.patch) ** 2,
    )
    torch.manual_seed(args.seed)
    torch.set_default_dtype(torch.bfloat16)
    model = LlavaForConditionalGeneration(config)
    model.config.dtype = torch.bfloat16
    model.config.image_aspect_ratio = "pad"
    model.save_pretrained(args.out)
    parts = {}
    for name, parameter in model.named_parameters():
        part = next(p for p in ["vision_tower", "projector", "embed_tokens", "lm_head", ""] if p in name)
        parts[part or "decoder"] = parts.get(part or "decoder", 0) + parameter.numel()
    print(json.dumps({"model": str(args.out), "parameters": parts, "image_id": image, "pad_id": pad}))


if __name__ == "__main__":
    main()
