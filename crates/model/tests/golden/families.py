# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0", "transformers==4.57.1", "safetensors"]
# ///
"""Makes families/: a tiny random model of every family of towers, projectors and decoders, and what
transformers computes with it.

    OMP_NUM_THREADS=1 python families.py            (all, or those named on the command line)

Each folder holds a checkpoint as `save_pretrained` writes it, and `golden.safetensors`: a batch of
two rows with a label mask, its hidden states and logits (every eighth token, for the size), loss,
the gradient of every parameter (its norm, and a projection that a transposed or permuted gradient
would not have; rows in the order of the sorted names), and 64 greedy tokens. Weights are larger
than a fresh model's, so that attention is far from uniform and errors show; they are exact in bf16.
Greedy tokens must be clear of ties, else another order of sums could flip one: `TIE` checks it.

`initial.json` has the mean, deviation and largest size of every tensor of fresh, larger models.
"""

import json
import pathlib
import re
import shutil
import sys

import torch
import transformers
from safetensors.torch import save_file
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    CLIPVisionConfig,
    Dinov2Config,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    Qwen2Config,
    SiglipVisionConfig,
)
from transformers.models.llava import modeling_llava

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert transformers.__version__ == "4.57.1", transformers.__version__
HERE = pathlib.Path(__file__).parent / "families"
VOCABULARY, IMAGE_TOKEN, TOKENS, GREEDY = 48, 1, 40, 64
# The two best logits, as a share of the largest: f32 sums in another order move one by 1e-6 or so.
TIE = 1e-4
PATCH = 4


class Projector(nn.Module):
    """transformers' projector, with as many layers as the original LLaVA's `mm_projector_type`."""

    def __init__(self, config):
        super().__init__()
        name = getattr(config, "mm_projector_type", "mlp2x_gelu")
        self.count = 1 if name == "linear" else int(name.removeprefix("mlp").removesuffix("x_gelu"))
        width = config.vision_config.hidden_size
        for index in range(1, self.count + 1):
            setattr(self, f"linear_{index}", nn.Linear(width, config.text_config.hidden_size))
            width = config.text_config.hidden_size

    def forward(self, x):
        for index in range(1, self.count + 1):
            if index > 1:
                x = nn.functional.gelu(x)
            x = getattr(self, f"linear_{index}")(x)
        return x


def decoder(kind=LlamaConfig, **more):
    sizes = dict(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=3,
        vocab_size=VOCABULARY,
        max_position_embeddings=128,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    return kind(**{**sizes, **more})


def tower(kind=CLIPVisionConfig, **more):
    # 14 is no multiple of the patch: what is left over is not seen.
    sizes = dict(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=14,
        patch_size=PATCH,
    )
    return kind(**{**sizes, **more})


def llava(text, vision=None, tokens=9, **more):
    return LlavaConfig(
        text_config=text,
        vision_config=vision or tower(),
        image_token_index=IMAGE_TOKEN,
        image_seq_length=tokens,
        tie_word_embeddings=text.tie_word_embeddings,
        **more,
    )


FAMILIES = {
    # Vicuna with a longer context, in the older spelling of the type.
    "vicuna_linear": lambda: llava(
        decoder(rope_scaling={"type": "linear", "factor": 4.0}, rms_norm_eps=1e-5)
    ),
    "mistral_window": lambda: llava(
        decoder(MistralConfig, num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=12)
    ),
    "smollm": lambda: llava(
        decoder(num_attention_heads=4, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True)
    ),
    "qwen2": lambda: llava(decoder(Qwen2Config, num_key_value_heads=1, rope_theta=1e6)),
    "siglip": lambda: llava(
        decoder(), tower(SiglipVisionConfig), vision_feature_select_strategy="full"
    ),
    # The last hidden state is normed, and `default` drops the first patch.
    "siglip_last": lambda: llava(
        decoder(), tower(SiglipVisionConfig, vision_use_head=False), 8, vision_feature_layer=-1
    ),
    # Shown images of 20 pixels a side: positions of a 3 by 3 grid become those of 5 by 5.
    "dinov2_interpolated": lambda: llava(
        decoder(), tower(Dinov2Config, mlp_ratio=1.5, layerscale_value=0.5), 25
    ),
    "dinov2_swiglu": lambda: llava(
        decoder(),
        tower(Dinov2Config, use_swiglu_ffn=True, mlp_ratio=2, use_mask_token=False, qkv_bias=False),
        10,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    ),
    "projector_linear": lambda: llava(decoder(), mm_projector_type="linear"),
    "projector_mlp3x": lambda: llava(decoder(), mm_projector_type="mlp3x_gelu"),
    "llama3_text": lambda: decoder(
        head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    # Past its context from the first forward pass on.
    "llama_dynamic_biases_text": lambda: decoder(
        attention_bias=True,
        mlp_bias=True,
        max_position_embeddings=32,
        rope_scaling={"rope_type": "dynamic", "factor": 2.0},
    ),
    "llama_yarn_text": lambda: decoder(
        head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=2,
        rope_scaling={
            "rope_type": "yarn",
            "factor": 4.0,
            "beta_fast": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    # The second layer has a window.
    "qwen2_tied_text": lambda: decoder(
        Qwen2Config,
        tie_word_embeddings=True,
        use_sliding_window=True,
        sliding_window=10,
        max_window_layers=1,
    ),
}


def stored_name(key, text_only):
    """The name in a file of the older naming, which the Rust model has."""
    if text_only:
        return "language_model." + key
    key = key.removeprefix("model.")
    if key.startswith("language_model."):
        return "language_model.model." + key.removeprefix("language_model.")
    return "language_model." + key if key.startswith("lm_head.") else key


def greedy(folder, kind, inputs):
    """64 tokens, from a model that has computed nothing before: dynamic scaling has a memory."""
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    start = inputs["input_ids"].shape[1]
    result = model.generate(
        **inputs,
        attention_mask=torch.ones_like(inputs["input_ids"]),
        max_new_tokens=GREEDY,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    for step, logits in enumerate(result.logits):
        first, second = logits[0].topk(2).values
        assert first - second > TIE * logits.abs().max(), f"{folder.name}: a tie at token {step}"
    tokens = result.sequences[0, start:]
    assert len(tokens) == GREEDY and len(set(tokens.tolist())) > 4, tokens
    return tokens


def golden(name):
    config = FAMILIES[name]()
    text_only = not isinstance(config, LlavaConfig)
    kind = AutoModelForCausalLM if text_only else LlavaForConditionalGeneration
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    for seed in range(100):
        try:
            out = attempt(config, text_only, kind, folder, seed)
            break
        except AssertionError as tie:
            print("another seed:", tie)
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "golden.safetensors")
    (folder / "generation_config.json").unlink(missing_ok=True)


def attempt(config, text_only, kind, folder, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config) if text_only else kind(config)
    with torch.no_grad():
        for key, parameter in sorted(model.named_parameters()):
            if "norm" in key.split(".")[-2]:
                parameter.normal_(1.0 if key.endswith("weight") else 0.0, 0.1)
            else:
                wide = parameter.shape[-1] if parameter.dim() == 2 else 25
                parameter.normal_(0.0, 1.2 * wide**-0.5)
            parameter.copy_(parameter.bfloat16())
    # Stored in bf16, which these values are exactly, for the size; computed in f32.
    model.to(torch.bfloat16).save_pretrained(folder)
    # Loaded afresh: a cast to bf16 and back would round the rotary frequencies.
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    out = {}
    ids = torch.randint(2, VOCABULARY, (2, TOKENS))
    prompt = {"input_ids": ids[:1].clone()}
    batch = {"input_ids": ids}
    if not text_only:
        side = 20 if folder.name == "dinov2_interpolated" else config.vision_config.image_size
        if side != config.vision_config.image_size:
            processor = {"do_center_crop": True, "crop_size": {"height": side, "width": side}}
            (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
        ids[:, 3 : 3 + config.image_seq_length] = IMAGE_TOKEN
        pixels = torch.randn(2, 3, side, side).bfloat16()
        out["pixel_values"] = pixels
        prompt = {"input_ids": ids[:1].clone(), "pixel_values": pixels[:1].float()}
        batch["pixel_values"] = pixels.float()
    labels = ids.clone()
    labels[:, : TOKENS // 2] = -100
    labels[1, -7:] = -100
    result = model(**batch, labels=labels, output_hidden_states=True)
    result.loss.backward()
    out["input_ids"], out["labels"] = ids, labels
    if not text_only:
        out["image_features"] = result.image_hidden_states.detach()
    out["hidden_states"] = torch.stack(result.hidden_states).detach()[:, :, ::8]
    out["logits"] = result.logits.detach()[:, ::8]
    out["loss"] = result.loss.detach()
    gradients = {}
    for key, parameter in model.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        flat = gradient.flatten().double()
        wave = torch.cos(torch.arange(flat.numel(), dtype=torch.float64))
        gradients[stored_name(key, text_only)] = torch.stack([flat.norm(), flat @ wave])
    out["gradients"] = torch.stack([gradients[key] for key in sorted(gradients)]).float()
    out["greedy"] = greedy(folder, kind, prompt)
    return out




def initial():
    """What `_init_weights` gives, in models large enough for its deviations to show."""
    sizes = dict(hidden_size=96, intermediate_size=160, num_hidden_layers=1, patch_size=8, image_size=64)
    towers = {
        "clip": tower(**sizes),
        "siglip": tower(SiglipVisionConfig, **sizes),
        "dinov2": tower(Dinov2Config, layerscale_value=0.3, **sizes),
    }
    text = dict(hidden_size=96, intermediate_size=160, num_hidden_layers=1, initializer_range=0.05)
    found = {}
    for name, vision in towers.items():
        torch.manual_seed(1)
        kind = Qwen2Config if name == "siglip" else LlamaConfig
        config = llava(decoder(kind, attention_bias=True, mlp_bias=True, **text), vision)
        model = LlavaForConditionalGeneration(config)
        found[name] = {
            "config": json.loads(config.to_json_string()),
            "tensors": {
                stored_name(key, False): [
                    float(f"{v:.5g}") for v in (t.mean(), t.std(correction=0), t.abs().max())
                ]
                for key, t in sorted(model.named_parameters())
            },
        }
    lines = re.sub(r"\n\s+(-?[\d.e-]+,?)(?=\n)", r" \1", json.dumps(found, indent=1))
    lines = re.sub(r"(?<=\d)\n\s+\]", "]", lines)
    (HERE.parent / "initial.json").write_text(lines + "\n")


if __name__ == "__main__":
    # transformers' own projector for fresh models: it has its own initial values.
    initial()
    modeling_llava.LlavaMultiModalProjector = Projector
    for name in sys.argv[1:] or FAMILIES:
        golden(name)
