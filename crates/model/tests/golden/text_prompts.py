"""What transformers makes of prompts that are text and nothing else, with the checkpoint in `grouped`.

    pip install torch==2.11.0 transformers==4.57.1
    OMP_NUM_THREADS=1 python text_prompts.py

For each text the ids of `tokenizer(text)` and what `generate` adds to them, greedily, in f32.
"""

import json
import pathlib

import torch
import transformers

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert transformers.__version__ == "4.57.1", transformers.__version__
HERE = pathlib.Path(__file__).parent
TEXTS = [
    "The answer is",
    "USER: What is 12 + 30? ASSISTANT:",
    " leading space, and a line\nbreak",
    "one</s>two <pad> three",
    "Ünïcödé: ∑ 12345",
    "",
]


def main():
    tokenizer = transformers.AutoTokenizer.from_pretrained(HERE / "grouped")
    model = transformers.LlavaForConditionalGeneration.from_pretrained(HERE / "grouped", dtype=torch.float32).eval()
    out = []
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            written = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=16,
                do_sample=False,
                pad_token_id=3,
            )
        ids = inputs["input_ids"][0].tolist()
        out.append({"text": text, "ids": ids, "reply": written[0, len(ids) :].tolist()})
    lines = ",\n".join(json.dumps(line, ensure_ascii=False) for line in out)
    (HERE / "text_prompts.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
