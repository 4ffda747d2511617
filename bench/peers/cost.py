"""What the full Math-LLaVA runs cost: a page of tables from formulas that it states and figures that it is given.

    python bench/peers/cost.py > docs/training-costs.md
    python bench/peers/cost.py --tokens-per-second 7b=14000 13b=7000 --peak-gib 7b=30.1 13b=60.2 \\
        --lengths OUT/lengths.json > docs/training-costs.md

Every figure on the page is marked: **measured** (given as an argument), **published** (with where), **assumed**
(a default nobody measured) or computed from these by a formula that is printed. The operations equal those that
PyTorch's FlopCounterMode counts in transformers' LLaVA where attention sees all tokens. `--lengths` takes
`train_data.py`'s `lengths.json`.
"""

import argparse
import json
import pathlib

GIB = 2**30
SHAPES = {  # vocabulary as in llava-hf's folders
    "small": dict(hidden=1024, layers=12, mlp=2816, vocabulary=32064),
    "7b": dict(hidden=4096, layers=32, mlp=11008, vocabulary=32064),
    "13b": dict(hidden=5120, layers=40, mlp=13824, vocabulary=32064),
}
TOWER = dict(hidden=1024, layers=24, used=23, mlp=4096, tokens=577, patch=14)
IMAGE_TOKENS = 576
STATE_BLOCK = 256

# From the paper: 40,000 images with 360,000 pairs, two epochs, eight A800 for about 15 hours.
PAIRS, IMAGES, EPOCHS, PUBLISHED_GPU_HOURS = 360_000, 40_000, 2, 120
# What `train_data.py` gives where no file is named.
LENGTHS = dict(tokens_a_pair=665.3, tree_tokens_an_image=920.8, labels_a_pair=6.4)


TITLES = {"llava": "as LLaVA does it", "none": "packing `none`", "tree": "packing `tree`"}


def layer_parameters(s):
    """Matrices of one decoder layer: q, k, v, o and gate, up, down."""
    return 4 * s["hidden"] ** 2 + 3 * s["hidden"] * s["mlp"]


def parameters(s):
    """By part; norms count with their layers."""
    h, v = s["hidden"], s["vocabulary"]
    t = TOWER
    tower_layer = 4 * t["hidden"] ** 2 + 2 * t["hidden"] * t["mlp"] + 9 * t["hidden"] + t["mlp"]
    return {
        "decoder layers": s["layers"] * (layer_parameters(s) + 2 * h) + h,
        "embedding": v * h,
        "output layer": v * h,
        "projector": t["hidden"] * h + h + h * h + h,
        "tower": t["layers"] * tower_layer + (3 * t["patch"] ** 2 + t["tokens"] + 5) * t["hidden"],
    }


def pass_flops(s, context):
    """One pass of one token through the decoder's layers: 2 for each weight, and for attention the products of
    queries with keys and of weights with values over the tokens it sees (`context` on average)."""
    return s["layers"] * (2 * layer_parameters(s) + 4 * context * s["hidden"])


def tower_flops():
    """One image through the tower's layers, up to the one whose output is used."""
    t = TOWER
    token = 2 * (4 * t["hidden"] ** 2 + 2 * t["hidden"] * t["mlp"]) + 4 * t["tokens"] * t["hidden"]
    return t["used"] * t["tokens"] * token + 2 * (t["tokens"] - 1) * 3 * t["patch"] ** 2 * t["hidden"]


def projector_flops(s):
    """One image forward and backward; the first layer's input needs no gradient."""
    first, second = TOWER["hidden"] * s["hidden"], s["hidden"] ** 2
    return 2 * IMAGE_TOKENS * (2 * first + 3 * second)


def step_flops(s, tokens, context, logits, images, recompute):
    """A forward, a backward of twice that, and with `recompute` one more forward, for `tokens` tokens of which
    `logits` go through the output layer; `images` through the tower and the projector."""
    passes = 4 if recompute else 3
    decoder = tokens * passes * pass_flops(s, context) + logits * 3 * 2 * s["hidden"] * s["vocabulary"]
    return decoder + images * (tower_flops() + projector_flops(s))


def epoch_flops(s, lengths, packing, recompute):
    """All pairs once. `llava`: each pair by itself, logits at every position and the tower for every pair; `none`:
    the same with logits where there is a label; `tree`: each image's tree and the tower once, logits where there is
    a label. With features kept on disk the tower falls away in the second epoch; that is not counted here."""
    pair, tree = lengths["tokens_a_pair"], lengths["tree_tokens_an_image"]
    if packing != "tree":
        logits = PAIRS * (pair if packing == "llava" else lengths["labels_a_pair"])
        return step_flops(s, PAIRS * pair, pair / 2, logits, PAIRS, recompute)
    # A token sees its ancestors: in the trunk half of it, in a branch the trunk and half the branch.
    branches = PAIRS / IMAGES
    tail = (tree - pair) / (branches - 1)
    trunk = pair - tail
    context = (trunk * trunk / 2 + branches * tail * (trunk + tail / 2)) / tree
    return step_flops(s, IMAGES * tree, context, PAIRS * lengths["labels_a_pair"], IMAGES, recompute)


def epoch_tokens(lengths, packing):
    return IMAGES * lengths["tree_tokens_an_image"] if packing == "tree" else PAIRS * lengths["tokens_a_pair"]


def memory(s, rows, row_tokens, logit_rows):
    """Bytes by part: everything trained in bf16, updates layer by layer, 8-bit moments."""
    p = parameters(s)
    trained = sum(n for part, n in p.items() if part != "tower")
    tokens = rows * row_tokens
    h, mlp = s["hidden"], s["mlp"]
    kept = 16 * h + 8 * mlp  # inputs of norms and matrices, q k v, attention's output, gate, up and their product
    return {
        "weights, bf16": 2 * (trained + p["tower"]),
        "moments, 8 bits and an f32 scale a block": trained * (2 + 2 * 4 / STATE_BLOCK),
        "largest gradient alive, bf16": 2 * max(layer_parameters(s), p["embedding"], p["projector"]),
        "layers' inputs, bf16": 2 * tokens * h * s["layers"],
        "one layer's activations and their gradients": 2 * tokens * kept,
        "logits: bf16, f32 and gradient": logit_rows * s["vocabulary"] * (2 + 4 + 4),
    }


def pairs_of(text):
    name, _, value = text.partition("=")
    if name not in SHAPES or not value:
        raise argparse.ArgumentTypeError(f"{text}: write it as 13b=6300")
    return name, float(value)


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("| --- |" + " ---: |" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(str(c) for c in row) + " |")
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=["7b", "13b"], choices=SHAPES)
    parser.add_argument("--lengths", type=pathlib.Path, help="train_data.py's lengths.json")
    parser.add_argument("--tokens-per-second", nargs="*", type=pairs_of, default=[], help="measured, shared ones once")
    parser.add_argument("--peak-gib", nargs="*", type=pairs_of, default=[], help="measured peak memory")
    parser.add_argument("--machine", default="H100 80 GB")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="bf16, dense; H100 SXM's data sheet")
    parser.add_argument("--share-of-peak", type=float, default=0.45, help="where no tokens/s are given")
    parser.add_argument("--scaling", type=float, default=0.9, help="efficiency of eight GPUs")
    parser.add_argument("--price", type=float, default=2.5, help="of a GPU-hour")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--row-tokens", type=int, default=1024)
    parser.add_argument("--logit-rows", type=int, default=1024, help="positions whose logits are made at once")
    args = parser.parse_args()
    lengths, source = dict(LENGTHS), "as `bench/peers/train_data.py` makes them by default"
    if args.lengths:
        read = json.loads(args.lengths.read_text())
        lengths = {k: read[k]["mean"] for k in LENGTHS}
        source = f"of `{args.lengths.name}`"
    measured, peaks = dict(args.tokens_per_second), dict(args.peak_gib)

    print("# What training costs\n")
    print(f"Made by `bench/peers/cost.py`, which states the formulas. One {args.machine}; LLaVA-1.5's shapes.\n")
    print("## What goes in\n")
    table(
        ["figure", "value", "mark"],
        [
            ["pairs, images, epochs", f"{PAIRS:,}, {IMAGES:,}, {EPOCHS}", "published: arXiv 2406.17294"],
            ["tokens of a pair, image included", f"{lengths['tokens_a_pair']:.0f}", f"assumed: {source}"],
            ["tokens of an image's tree", f"{lengths['tree_tokens_an_image']:.0f}", f"assumed: {source}"],
            ["labels of a pair", f"{lengths['labels_a_pair']:.1f}", f"assumed: {source}"],
            ["peak of the GPU, TFLOP/s", f"{args.peak_tflops:.0f}", "published: data sheet, bf16, dense"],
            ["price of a GPU-hour", f"{args.price:.2f}", "assumed"],
            ["efficiency of eight GPUs", f"{args.scaling:.0%}", "assumed"],
        ],
    )
    print("## Tokens and operations\n")
    print(
        "A pass of a token through a layer takes 2 operations a weight and 4 × width × tokens seen for attention; a "
        "step is a forward, a backward of two, and one more forward where layers are run again. The output layer "
        "takes 6 × width × vocabulary at each position that has logits: all of them in LLaVA, the labelled ones "
        f"here. The tower takes {tower_flops() / 1e9:.0f} GFLOP an image: for every pair, or once an image in a "
        "tree.\n"
    )
    rows = []
    for name in args.shapes:
        s = SHAPES[name]
        for packing in ["llava", "none", "tree"]:
            tokens = epoch_tokens(lengths, packing)
            plain, again = (epoch_flops(s, lengths, packing, r) for r in [False, True])
            rows.append(
                [
                    f"{name}, {TITLES[packing]}", f"{tokens / 1e6:.1f} M", f"{plain / tokens / 1e9:.1f}",
                    f"{again / tokens / 1e9:.1f}", f"{plain / 1e18:.2f}", f"{again / 1e18:.2f}",
                ]
            )
    table(
        ["", "tokens an epoch", "GFLOP a token", "with recomputation", "EFLOP an epoch", "with recomputation"], rows
    )
    for name in args.shapes:
        ratio = epoch_tokens(lengths, "llava") / epoch_tokens(lengths, "tree")
        work = epoch_flops(SHAPES[name], lengths, "llava", True) / epoch_flops(SHAPES[name], lengths, "tree", True)
        print(f"{name}: trees take {ratio:.2f} times fewer tokens and {work:.2f} times fewer operations.\n")

    print("## Memory: all weights in bf16, layer by layer, 8-bit moments\n")
    print(
        f"{args.rows} rows of {args.row_tokens} tokens at once, logits {args.logit_rows} positions at a time "
        "(assumed). What the allocator wastes, the pixels and the runtime's own memory are not in it. A token keeps "
        "16 × width + 8 × MLP bytes in a layer that is run again, and as much for their gradients.\n"
    )
    parts = {name: memory(SHAPES[name], args.rows, args.row_tokens, args.logit_rows) for name in args.shapes}
    rows = [[part] + [f"{parts[n][part] / GIB:.1f}" for n in args.shapes] for part in parts[args.shapes[0]]]
    rows.append(["**sum, GiB**"] + [f"**{sum(parts[n].values()) / GIB:.1f}**" for n in args.shapes])
    rows.append(["measured peak, GiB"] + [f"{peaks[n]:.1f}" if n in peaks else "not measured" for n in args.shapes])
    usual = [16 * sum(n for p, n in parameters(SHAPES[m]).items() if p != "tower") / GIB for m in args.shapes]
    rows.append(["beside it: f32 copies and moments, bf16 weights and gradients"] + [f"{u:.0f}" for u in usual])
    table(["part"] + args.shapes, rows)

    print("## Hours and money for both epochs\n")
    published_rate = PAIRS * EPOCHS / PUBLISHED_GPU_HOURS / 3600
    rows = []
    for name in args.shapes:
        s = SHAPES[name]
        for packing in ["tree", "none", "llava"]:
            tokens = EPOCHS * epoch_tokens(lengths, packing)
            flops = EPOCHS * epoch_flops(s, lengths, packing, True)
            if name in measured and packing == "tree":
                rate, mark = measured[name], "measured"
            else:
                rate = args.share_of_peak * args.peak_tflops * 1e12 / (flops / tokens)
                mark = f"assumed: {args.share_of_peak:.0%} of peak, recomputation counted"
            hours = tokens / rate / 3600
            useful = EPOCHS * epoch_flops(s, lengths, packing, False) / (hours * 3600) / args.peak_tflops / 1e12
            eight = hours / 8 / args.scaling
            rows.append(
                [
                    f"{name}, {TITLES[packing]}", f"{rate:,.0f}", mark, f"{useful:.0%}",
                    f"{PAIRS * EPOCHS / hours / 3600:.1f}", f"{hours:.1f}", f"{hours * args.price:,.0f}",
                    f"{eight:.1f}", f"{eight * 8 * args.price:,.0f}",
                ]
            )
    rows.append(
        [
            "13b as published, eight A800", "", "published", "", f"{published_rate:.2f}", f"{PUBLISHED_GPU_HOURS}",
            f"{PUBLISHED_GPU_HOURS * args.price:,.0f}", f"{PUBLISHED_GPU_HOURS / 8:.0f}",
            f"{PUBLISHED_GPU_HOURS * args.price:,.0f}",
        ]
    )
    table(
        [
            "run", "tokens/s a GPU", "mark", "share of peak without recomputation", "pairs/s a GPU",
            "hours on one", "cost", "hours on eight", "cost",
        ],
        rows,
    )
    print(
        "Hours are tokens / (tokens/s) / 3600; on eight GPUs divided by 8 and the efficiency. tokens/s count shared "
        "tokens once. An A800 is not an H100: its hour costs less and its peak is 312 TFLOP/s (data sheet), so the "
        "published row's cost is at this page's price for comparison only."
    )


if __name__ == "__main__":
    main()
