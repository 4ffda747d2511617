"""Makes the goldens of `weights/`: files that PyTorch, transformers and PEFT wrote, and what is in them.

    pip install torch==2.11.0 transformers==4.57.1 peft==0.21.2 safetensors==0.8.0
    OMP_NUM_THREADS=1 python weights.py

`state.bin` has every layout that a state dict may have and `state.safetensors` the same tensors as
they should be read; `legacy.bin` and `evil.bin` must be refused. `mm_projector.bin` is the
projector of the golden `grouped` as the original LLaVA writes it, `tied/` is the golden `tied` as
PyTorch files in shards. `adapter*/` are PEFT adapters of the golden `grouped`, and `adapters.safetensors`
the logits of its batch with each of them (every eighth token, for the size). `adapter_gradients.safetensors`
has what the loss of that batch, its own tokens being the labels, asks of the adapters' tensors, by the
model's names. `generate.py` comes first.
"""

import json
import os
import pathlib
import pickle
import shutil

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert transformers.__version__ == "4.57.1", transformers.__version__
assert peft.__version__ == "0.21.2", peft.__version__
HERE = pathlib.Path(__file__).parent
OUT = HERE / "weights"


class Evil:
    def __reduce__(self):
        return (os.system, ("true",))


def state():
    torch.manual_seed(1)
    base = torch.randn(6, 8)
    tensors = {
        "plain": torch.randn(3, 5),
        "half": torch.randn(4, 3).half(),
        "bfloat": torch.randn(2, 2, 2).bfloat16(),
        "double": torch.randn(3, dtype=torch.float64),
        "parameter": torch.nn.Parameter(torch.randn(7)),
        "transposed": base.t(),
        "rows": base[2:4],
        "columns": base[:, 1:7:2],
        "expanded": torch.randn(1, 3).expand(4, 3),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
    }
    torch.save({"state_dict": tensors, "epoch": 3, "lr": 0.1, "betas": (0.9, [0.99, None])}, OUT / "state.bin")
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, OUT / "state.safetensors")
    small = {"w": torch.ones(2)}
    torch.save(small, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(small | {"x": Evil()}, OUT / "evil.bin", pickle_module=pickle)


def internal(key):
    """Our name for a parameter of PEFT's."""
    key = key.removeprefix("base_model.model.").replace("modules_to_save.default.", "")
    key = key.replace("lora_A.default.weight", "lora_A").replace("lora_B.default.weight", "lora_B")
    if key.startswith("lm_head."):
        return f"language_model.{key}"
    key = key.removeprefix("model.")
    return key.replace("language_model.", "language_model.model.", 1)


def adapters():
    golden = load_file(HERE / "grouped" / "golden.safetensors")
    configs = {
        "adapter": peft.LoraConfig(
            r=4,
            lora_alpha=6,
            target_modules=["q_proj", "v_proj", "down_proj", "linear_1"],
            exclude_modules=r".*vision_tower.*",
            rank_pattern={r"layers\.1\.self_attn\.q_proj": 2},
            alpha_pattern={"down_proj": 3, r"language_model\.layers\.0\..*": 9},
            modules_to_save=["lm_head"],
        ),
        "adapter_stabilised": peft.LoraConfig(
            r=3,
            lora_alpha=5,
            target_modules=r".*(vision_model.*\.(fc1|out_proj)|linear_2|gate_proj|o_proj|lm_head)",
            use_rslora=True,
        ),
    }
    logits, gradients = {}, {}
    for name, config in configs.items():
        model = LlavaForConditionalGeneration.from_pretrained(HERE / "grouped", dtype=torch.float32)
        torch.manual_seed(5)
        model = peft.get_peft_model(model, config)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "lora_" in key or "modules_to_save" in key:
                    # Large enough to change every answer.
                    parameter.add_(torch.randn_like(parameter) * 0.2)
        model.eval()
        model.save_pretrained(OUT / name, safe_serialization=name == "adapter")
        os.remove(OUT / name / "README.md")
        path = OUT / name / "adapter_config.json"
        text = json.loads(path.read_text()) | {"base_model_name_or_path": "grouped"}
        path.write_text(json.dumps(text, indent=2) + "\n")
        with torch.no_grad():
            result = model(input_ids=golden["input_ids"], pixel_values=golden["pixel_values"])
        logits[name] = result.logits[:, ::8].contiguous()
        loss = model(
            input_ids=golden["input_ids"], pixel_values=golden["pixel_values"], labels=golden["input_ids"]
        ).loss
        loss.backward()
        gradients[f"{name}.loss"] = loss.detach()
        for key, parameter in model.named_parameters():
            # The tower's last layer is not run.
            if parameter.grad is not None:
                gradients[f"{name}.{internal(key)}"] = parameter.grad
    plain = LlavaForConditionalGeneration.from_pretrained(HERE / "grouped", dtype=torch.float32)
    with torch.no_grad():
        without = plain(input_ids=golden["input_ids"], pixel_values=golden["pixel_values"]).logits[:, ::8]
    assert all((value - without).abs().max() > 0.1 for value in logits.values())
    save_file(logits, OUT / "adapters.safetensors")
    save_file(gradients, OUT / "adapter_gradients.safetensors")


def shards():
    model = LlavaForConditionalGeneration.from_pretrained(HERE / "tied", dtype=torch.float32)
    model.save_pretrained(OUT / "tied", safe_serialization=False, max_shard_size="60KB")
    (OUT / "tied" / "generation_config.json").unlink(missing_ok=True)


def projector():
    """What the original LLaVA's first stage of training writes."""
    grouped = load_file(HERE / "grouped" / "model.safetensors")
    tensors = {
        f"model.mm_projector.{index}.{leaf}": grouped[f"multi_modal_projector.linear_{layer}.{leaf}"]
        for index, layer in [(0, 1), (2, 2)]
        for leaf in ["weight", "bias"]
    }
    torch.save(tensors, OUT / "mm_projector.bin")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    state()
    adapters()
    shards()
    projector()


if __name__ == "__main__":
    main()
