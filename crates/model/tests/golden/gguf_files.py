"""Makes the goldens of GGUF files: blocks of every type, and two small decoders with tokenizers.

    pip install gguf==0.19.0 numpy==2.4.6 safetensors llama-cpp-python==0.3.36
    python gguf_files.py

`gguf_files/blocks.gguf` has a tensor of every type that is read, `gguf_files/blocks.safetensors` what the
`gguf` package makes of each; its own values for Q8_0, and its bytes. `gguf_files/llama.gguf` and
`gguf_files/qwen2.gguf` are decoders in F32 written by that package, their rows laid out as llama.cpp's
converter does; the `.safetensors` beside them have the same tensors under transformers' names and
layout. `gguf_files/tokens.json` has what llama.cpp makes of texts with the two vocabularies.
"""

import json
import pathlib

import gguf
import llama_cpp
import numpy
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent / "gguf_files"
RNG = numpy.random.default_rng(0)
ROWS, WIDTH = 3, 512


def values():
    """Blocks of many sizes, one of zeros, and one whose quotients are halves."""
    x = RNG.standard_normal((ROWS, WIDTH)).astype(numpy.float32)
    x *= numpy.exp(RNG.uniform(-12, 3, (ROWS, WIDTH // 32)).repeat(32, axis=1)).astype(numpy.float32)
    x[0, :32] = 0
    x[1, :32] = numpy.arange(32) / 2 - 8
    x[1, 0] = 127
    return x


def halves(shape, scale):
    """Finite half-precision numbers as bytes, of both signs, some of them subnormal."""
    x = (RNG.standard_normal(shape) * scale).astype(numpy.float16)
    x.flat[0] = 6e-8
    return x[..., None].view(numpy.uint8)


def k_blocks(kind):
    """The package cannot quantise to K types: random blocks with sane scales."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = RNG.integers(0, 256, (ROWS, WIDTH // 256, size), dtype=numpy.uint8)
    if kind == Type.Q4_K:
        blocks[..., :4] = halves((ROWS, WIDTH // 256, 2), 0.01).reshape(ROWS, -1, 4)
    else:
        blocks[..., -2:] = halves((ROWS, WIDTH // 256), 0.01)
    return blocks.reshape(ROWS, -1)


def blocks():
    writer = gguf.GGUFWriter(HERE / "blocks.gguf", "none")
    expected = {}
    for kind in [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q8_0, Type.Q4_K, Type.Q6_K]:
        x = values()
        data = k_blocks(kind) if kind in (Type.Q4_K, Type.Q6_K) else gguf.quantize(x, kind)
        plain = kind in (Type.F32, Type.F16)
        writer.add_tensor(kind.name, data, raw_dtype=None if plain else kind)
        expected[kind.name] = numpy.ascontiguousarray(gguf.dequantize(data, kind))
        if kind in (Type.Q8_0, Type.F16):
            expected[f"{kind.name}.values"] = x
            expected[f"{kind.name}.bytes"] = numpy.ascontiguousarray(data).view(numpy.uint8).ravel()
    finish(writer)
    save_file(expected, HERE / "blocks.safetensors")


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleave(rows, heads):
    """llama.cpp's layout of query and key rows: rotary pairs side by side."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def decoder(architecture, vocabulary, factors=None):
    """A decoder of random weights; `vocabulary` adds the tokenizer and gives its size."""
    heads, kv_heads, head, hidden, mlp, layers = 4, 2, 8, 32, 48, 2
    writer = gguf.GGUFWriter(HERE / f"{architecture}.gguf", architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(mlp)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50_000.0)
    rows = vocabulary(writer)
    tensors = {}

    def add(name, theirs, *shape):
        x = (RNG.standard_normal(shape) * (0.3 if len(shape) > 1 else 0.1)).astype(numpy.float32)
        tensors[theirs] = x
        part = name.split(".")[-2]
        if architecture == "llama" and part in ("attn_q", "attn_k"):
            x = interleave(x, heads if part == "attn_q" else kv_heads)
        writer.add_tensor(name, x)

    add("token_embd.weight", "model.embed_tokens.weight", rows, hidden)
    if architecture == "llama":
        add("output.weight", "lm_head.weight", rows, hidden)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    add("output_norm.weight", "model.norm.weight", hidden)
    for i in range(layers):
        a, b = f"blk.{i}.", f"model.layers.{i}."
        add(a + "attn_norm.weight", b + "input_layernorm.weight", hidden)
        for part, height in [("q", heads * head), ("k", kv_heads * head), ("v", kv_heads * head)]:
            add(f"{a}attn_{part}.weight", f"{b}self_attn.{part}_proj.weight", height, hidden)
            if architecture == "qwen2":
                add(f"{a}attn_{part}.bias", f"{b}self_attn.{part}_proj.bias", height)
        add(a + "attn_output.weight", b + "self_attn.o_proj.weight", hidden, heads * head)
        add(a + "ffn_norm.weight", b + "post_attention_layernorm.weight", hidden)
        add(a + "ffn_gate.weight", b + "mlp.gate_proj.weight", mlp, hidden)
        add(a + "ffn_up.weight", b + "mlp.up_proj.weight", mlp, hidden)
        add(a + "ffn_down.weight", b + "mlp.down_proj.weight", hidden, mlp)
    finish(writer)
    save_file(tensors, HERE / f"{architecture}.safetensors")


def sentencepiece(writer):
    """Letters, a few words and what leads to them, and all bytes."""
    words = ["the", "answer", "is", "café", "12"]
    pieces = ["▁", *"abcdefghijklmnopqrstuvwxyzABC?.,0123é"]
    for word in words:
        pieces += [word[:n] for n in range(2, len(word) + 1)] + ["▁" + word[:n] for n in range(1, len(word) + 1)]
    pieces = list(dict.fromkeys(pieces))
    pieces.sort(key=len, reverse=True)
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + pieces
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(pieces))])
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * len(pieces))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}")
    return len(tokens)


def byte_alphabet():
    """GPT-2's printable characters for the 256 bytes, in the order of the bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(other)) for b in range(256)]


def byte_level(pre):
    def add(writer):
        merges = ["t h", "Ġ th", "Ġth e", "1 2", "12 3", "Ġ a", "n s", "Ġa ns", "w e", "we r", "Ġans wer", "Ã ©", "Ċ Ċ"]
        tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_alphabet(), *(m.replace(" ", "") for m in merges), "<tool>"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_merges(merges)
        writer.add_token_types([3] * 3 + [1] * (len(tokens) - 4) + [4])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(False)
        return len(tokens)

    return add


def llama3_factors(factor, theta, head):
    """transformers' `_compute_llama3_parameters`, as divisors."""
    low, high, context = 1.0, 4.0, 8192
    out = []
    for i in range(head // 2):
        wavelength = 2 * numpy.pi * theta ** (2 * i / head)
        if wavelength < context / high:
            out.append(1.0)
        elif wavelength > context / low:
            out.append(factor)
        else:
            smooth = (context / wavelength - low) / (high - low)
            out.append(1 / ((1 - smooth) / factor + smooth))
    return numpy.array(out, dtype=numpy.float32)


TEXTS = ["the answer is 12.", " the  answer", "café, 1234 the", "x\n\ny\tz", "日本 £5 the answer's", "A?b, ?? 0.123"]


def tokens():
    """What llama.cpp makes of the texts, one vocabulary a file and one way of cutting words."""
    out = {}
    for name in ["llama", "qwen2", "smollm", "llama-bpe", "gpt-2", "default"]:
        model = llama_cpp.Llama(str(HERE / f"{name}.gguf"), vocab_only=True, verbose=False)
        out[name] = [model.tokenize(text.encode(), add_bos=False, special=False) for text in TEXTS]
    (HERE / "tokens.json").write_text(json.dumps({"texts": TEXTS, "ids": out}, ensure_ascii=False) + "\n")


def vocabularies():
    """Files with a vocabulary and no model: one for each other way of cutting words."""
    for pre in ["smollm", "llama-bpe", "gpt-2", "default"]:
        writer = gguf.GGUFWriter(HERE / f"{pre}.gguf", "llama")
        byte_level(pre)(writer)
        finish(writer)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    blocks()
    decoder("llama", sentencepiece, llama3_factors(8.0, 50_000.0, 8))
    decoder("qwen2", byte_level("qwen2"))
    vocabularies()
    tokens()
