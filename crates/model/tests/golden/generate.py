"""Makes the goldens of this folder: small random LLaVA checkpoints and what transformers computes.

    pip install torch==2.11.0 transformers==4.57.1 pillow==13.0.0 safetensors
    OMP_NUM_THREADS=1 python generate.py

Two shapes, so that every branch of the model is held against transformers: `grouped` (grouped
queries, class token dropped, quick-GELU, feature layer -2) and `tied` (tied embeddings, head width
of its own, class token kept, GELU, feature layer -1, projector without biases). Weights are larger
than a fresh model's, so that attention is far from uniform and errors show.
"""

import json
import os
import pathlib
import shutil

import numpy
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.llava.image_processing_llava import LlavaImageProcessor

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert transformers.__version__ == "4.57.1", transformers.__version__
HERE = pathlib.Path(__file__).parent
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
SIDE, PATCH, VOCABULARY = 28, 7, 288
V1 = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. "
)
QUERIES = [
    "Hint: Please answer.\nQuestion: What is 12 + 30?",
    "Hint: Please answer.\nQuestion: How many?\nChoices:\n(A) 7\n(B) 0.5",
]
RESPONSES = ["The answer is 42", "The answer is B"]


def tokenizer():
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    inner.train_from_iterator([V1 + " USER: ASSISTANT:"] * 4 + QUERIES + RESPONSES, trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B:1", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
    )


def config(name):
    tied = name == "tied"
    return LlavaConfig(
        text_config=LlamaConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2 if tied else 4,
            num_key_value_heads=2,
            head_dim=12 if tied else None,
            vocab_size=VOCABULARY,
            rms_norm_eps=1e-5,
            rope_theta=500.0 if tied else 10000.0,
            max_position_embeddings=512,
            tie_word_embeddings=tied,
            pad_token_id=3,
        ),
        vision_config=CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=3,
            num_attention_heads=3,
            image_size=SIDE,
            patch_size=PATCH,
            hidden_act="gelu" if tied else "quick_gelu",
        ),
        image_token_index=SPECIAL.index("<image>"),
        vision_feature_layer=-1 if tied else -2,
        vision_feature_select_strategy="full" if tied else "default",
        multimodal_projector_bias=not tied,
        image_seq_length=(SIDE // PATCH) ** 2 + (1 if tied else 0),
        conversation_template="tiny",
    )


def pictures():
    """Two images with gradients, edges and noise; neither is square."""
    result = []
    for index, (width, height) in enumerate([(61, 40), (33, 90)]):
        random = numpy.random.default_rng(index)
        y, x = numpy.mgrid[0:height, 0:width]
        rgb = numpy.stack([x * 255 / width, y * 255 / height, (x * y) % 256], -1)
        rgb[(x // 9 + y // 7) % 3 == 0] = [250, 20, 120]
        rgb += random.normal(0, 12, rgb.shape)
        result.append(Image.fromarray(rgb.clip(0, 255).astype(numpy.uint8)))
    return result


def pad(image):
    side = max(image.size)
    square = Image.new("RGB", (side, side), (122, 116, 104))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def golden(name, images):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(7)
    model = LlavaForConditionalGeneration(config(name)).eval()
    with torch.no_grad():
        for key, parameter in sorted(model.named_parameters()):
            if "norm" in key or "norm" in key.split(".")[-2]:
                parameter.normal_(1.0 if key.endswith("weight") else 0.0, 0.1)
            else:
                parameter.normal_(0.0, 0.12 if name == "tied" else 0.2)
            parameter.copy_(parameter.bfloat16())
    # Stored in bf16, which these values are exactly, for the size; computed in f32.
    model.to(torch.bfloat16).save_pretrained(folder)
    # Loaded afresh: a cast to bf16 and back would round the rotary frequencies.
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokens = tokenizer()
    if name == "grouped":
        tokens.save_pretrained(folder)
    processor = LlavaProcessor(
        LlavaImageProcessor(
            do_pad=True, size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokens,
        patch_size=PATCH,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
    )
    out = {}
    # What a prompt becomes, in the form with and without the system sentence.
    prompts = [f"USER: <image>\n{query} ASSISTANT:" for query in QUERIES]
    pixels = []
    for index, (prompt, image) in enumerate(zip(prompts, images)):
        inputs = processor(images=image, text=prompt, return_tensors="pt")
        out[f"prompt_ids.{index}"] = inputs["input_ids"][0]
        out[f"prompt_ids_v1.{index}"] = processor(
            images=image, text=V1 + prompt, return_tensors="pt"
        )["input_ids"][0]
        pixels.append(inputs["pixel_values"])
        with torch.no_grad():
            written = model.generate(**inputs, max_new_tokens=24, do_sample=False, pad_token_id=3)
        out[f"greedy.{index}"] = written[0, inputs["input_ids"].shape[1] :]
    # A training batch: both conversations, the shorter one padded on the right.
    ids = [
        torch.cat([out[f"prompt_ids.{i}"], torch.tensor(tokens.encode(" " + r, add_special_tokens=False) + [2])])
        for i, r in enumerate(RESPONSES)
    ]
    longest = max(map(len, ids))
    input_ids = torch.full((2, longest), 3)
    labels = torch.full((2, longest), -100)
    for row, sequence in enumerate(ids):
        input_ids[row, : len(sequence)] = sequence
        start = len(out[f"prompt_ids.{row}"])
        labels[row, start : len(sequence)] = sequence[start:]
    pixel_values = torch.cat(pixels)
    # Right padding under a causal mask changes nothing before it, so no attention mask is needed;
    # logits on the padding itself are not compared.
    result = model(input_ids=input_ids, pixel_values=pixel_values, labels=labels, output_hidden_states=True)
    result.loss.backward()
    out["input_ids"], out["labels"], out["pixel_values"] = input_ids, labels, pixel_values
    out["image_features"] = result.image_hidden_states.detach()
    # Every eighth token, for the size.
    out["hidden_states"] = torch.stack(result.hidden_states).detach()[:, :, ::8]
    out["logits"] = result.logits.detach()[:, ::8]
    out["loss"] = result.loss.detach()
    for key, parameter in model.named_parameters():
        # The name in the file that save_pretrained wrote.
        key = key.removeprefix("model.")
        if key.startswith("language_model."):
            key = "language_model.model." + key.removeprefix("language_model.")
        if key.startswith("lm_head."):
            key = "language_model." + key
        gradient = parameter.grad
        if gradient is None:
            gradient = torch.zeros_like(parameter)
        flat = gradient.flatten().double()
        wave = torch.cos(torch.arange(flat.numel(), dtype=torch.float64))
        # Size, and a projection that a transposed or permuted gradient would not have.
        out["gradient." + key] = torch.stack([flat.norm(), flat @ wave]).float()
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "golden.safetensors")


def main():
    images = pictures()
    resized = {}
    for index, image in enumerate(images):
        image.save(HERE / f"picture_{index}.png", optimize=True)
        for side in [SIDE, 64]:
            square = pad(image).resize((side, side), Image.BICUBIC)
            resized[f"{index}.{side}"] = torch.from_numpy(numpy.asarray(square).copy())
    save_file(resized, HERE / "pil_bicubic.safetensors")
    (HERE / "texts.json").write_text(
        json.dumps({"queries": QUERIES, "responses": RESPONSES}, indent=2) + "\n"
    )
    for name in ["grouped", "tied"]:
        golden(name, images)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
