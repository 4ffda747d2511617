# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.11.0", "transformers==4.57.1", "pillow"]
# ///
"""Training beside LLaVA-style training in PyTorch, taking turns in one session: prints a page for bench/runs/.

    python bench/peers/train_data.py /tmp/pairs
    python bench/peers/make_model.py /tmp/model
    OURS="math-llava train --config bench/peers/train.toml --out {run} --set train.base.model=/tmp/model
        --set train.data.conversations=/tmp/pairs/train_samples_all_tuning.json
        --set train.data.images=/tmp/pairs/data_images"
    NONE="--set train.packing=none --set train.batch_images=0 --set train.batch_pairs=36 --set train.micro_rows=4"
    LAYERS="--set train.update=layerwise --set train.clip_by=layer --set train.optimiser.states=int8"
    python bench/peers/train_speed.py --model /tmp/model --pairs /tmp/pairs --rounds 3 --steps 2 --accumulate 9 \\
        --ours tree "$OURS" "{run}/train/timing.jsonl" \\
        --ours none "$OURS $NONE" "{run}/train/timing.jsonl" \\
        --ours "layerwise, 8-bit" "$OURS $LAYERS" "{run}/train/timing.jsonl" > page.md

`--ours NAME COMMAND TIMING`: {run} becomes an empty folder for each turn. Each line of TIMING is a step: `seconds`,
`samples_per_second`, `tokens_per_second` (shared tokens once) and, where it is known, `data_seconds`. Moments are
f32 in the first two, where the peer's are bf16.

Before the turns the peer runs a few steps in each of its settings (attention sdpa or eager; AdamW fused or foreach;
with --compile also torch.compile), one batch an update; the fastest is the peer, and once more with gradient
checkpointing, as the recipe has it, for the memory. Every turn is a process of its own; its peak memory is what the kernel says of it (all
of its life, loading included), the same yardstick for both sides.

Ratios are medians over rounds of the ratio of a round's medians, so that what else the machine does falls on both
alike; the first `--warm-up` steps of a turn are left out. The machine's limit is measured between the turns: a
product of two 4096 x 4096 matrices in bf16 by torch.matmul. A pair's share of the limit counts the products
that its way needs (`cost.py`), one forward and one backward, nothing run again: LLaVA's with logits at every
position, ours with logits where there are labels. A NAME with "none" in it counts as separate sequences, any other
as trees.
"""

import argparse
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import cost

HERE = pathlib.Path(__file__).parent
MATMUL = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
n = int(sys.argv[2])
a, b = (torch.randn(n, n).bfloat16() for _ in range(2))
torch.matmul(a, b)
times = []
for _ in range(8):
    started = time.perf_counter()
    torch.matmul(a, b)
    times.append(time.perf_counter() - started)
print(2 * n**3 / min(times) / 1e9)
"""


def run(command, environment):
    """Standard output and the largest resident memory, in MiB, of a command that must succeed."""
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment)
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode != 0:
        raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}:\n{errors[-3000:]}")
    return text, usage.ru_maxrss / 1024


def lines(text):
    rows = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
    return [row for row in rows if "seconds" in row and "step" in row]


class Program:
    """One side in one setting, and what its turns gave."""

    def __init__(self, name, take_turn):
        self.name, self.take_turn, self.turns = name, take_turn, []

    def turn(self, warm_up):
        steps, peak = self.take_turn()
        timed = steps[warm_up:]
        if not timed:
            raise SystemExit(f"{self.name}: {len(steps)} steps, of which {warm_up} are left out; make more steps")
        median = lambda key: statistics.median(step[key] for step in timed)  # noqa: E731
        self.turns.append(
            {
                "seconds": median("seconds"),
                "samples": median("samples_per_second"),
                "tokens": median("tokens_per_second"),
                "data": sum(step.get("data_seconds", 0) for step in timed) / sum(step["seconds"] for step in timed),
                "peak": peak,
                "losses": [step["loss"] for step in steps if "loss" in step],
            }
        )
        said = self.turns[-1]
        print(
            f"{time.strftime('%H:%M:%S')} {self.name}: {said['samples']:.4f} pairs/s, {said['peak']:.0f} MiB",
            file=sys.stderr,
            flush=True,
        )

    def median(self, key):
        return statistics.median(turn[key] for turn in self.turns)


def ours(name, command, timing, environment):
    def take_turn():
        with tempfile.TemporaryDirectory() as folder:
            fill = lambda text: text.replace("{run}", f"{folder}/run")  # noqa: E731
            _, peak = run(shlex.split(fill(command)), environment)
            path = pathlib.Path(fill(timing))
            if not path.exists():
                raise SystemExit(f"{name}: no {path} after the run: name the file that COMMAND writes")
            return lines(path.read_text()), peak

    return Program(name, take_turn)


def theirs(name, settings, steps, accumulate, args, environment):
    command = [args.torch_python, str(HERE / "torch_train.py"), "--model", str(args.model)]
    command += ["--data", str(args.pairs / "train_samples_all_tuning.json")]
    command += ["--images", str(args.pairs / "data_images"), "--steps", str(steps), "--batch", str(args.batch)]
    command += ["--accumulate", str(accumulate), "--warm-up", str(args.warm_up)]
    command += ["--threads", str(args.threads), *settings]

    def take_turn():
        text, peak = run(command, environment)
        return lines(text), peak

    return Program(name, take_turn)


def sweep(args, environment):
    """The peer's settings in turn; the fastest one's."""
    found = []
    for attention in ["sdpa", "eager"]:
        for optimizer in ["fused", "foreach"]:
            found.append(["--attn", attention, "--optimizer", optimizer])
    if args.compile:
        found.append(["--attn", "sdpa", "--optimizer", "fused", "--compile"])
    tried = []
    for settings in found:
        program = theirs("PyTorch " + " ".join(settings), settings, args.warm_up + 3, 1, args, environment)
        program.turn(args.warm_up)
        tried.append((program.median("samples"), settings))
    return sorted(tried, key=lambda t: -t[0])


def needed(model, pairs, images):
    """Operations of a pair's products, forward and backward, for each way in `cost.epoch_flops`."""
    config = json.loads((model / "config.json").read_text())
    text, vision = config["text_config"], config["vision_config"]
    shape = dict(
        hidden=text["hidden_size"], layers=text["num_hidden_layers"], mlp=text["intermediate_size"],
        vocabulary=text["vocab_size"],
    )
    cost.PAIRS, cost.IMAGES = pairs["pairs"], images
    cost.TOWER |= dict(
        hidden=vision["hidden_size"], layers=vision["num_hidden_layers"], used=vision["num_hidden_layers"] - 1,
        mlp=vision["intermediate_size"], patch=vision["patch_size"],
    )
    lengths = {key: pairs[key]["mean"] for key in cost.LENGTHS}
    return {packing: cost.epoch_flops(shape, lengths, packing, False) / cost.PAIRS for packing in cost.TITLES}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, required=True, help="make_model.py's folder")
    parser.add_argument("--pairs", type=pathlib.Path, required=True, help="train_data.py's folder")
    parser.add_argument("--ours", nargs=3, action="append", metavar=("NAME", "COMMAND", "TIMING"), required=True)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="the peer's steps in a turn")
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--accumulate", type=int, default=1, help="the peer's batches an update")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="try torch.compile too")
    parser.add_argument("--settings", help='the peer\'s, without trying others: "--attn sdpa --optimizer fused"')
    parser.add_argument("--matmul", type=int, default=4096)
    args = parser.parse_args()
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads), "TOKENIZERS_PARALLELISM": "false"}
    product = [args.torch_python, "-c", MATMUL, str(args.threads), str(args.matmul)]
    limits = [float(run(product, environment)[0])]
    tried = []
    if args.settings:
        fastest = shlex.split(args.settings)
    else:
        tried = sweep(args, environment)
        fastest = tried[0][1]
    peer = theirs("PyTorch", fastest, args.steps, args.accumulate, args, environment)
    less = [*fastest, "--gradient-checkpointing"]
    saving = theirs("PyTorch, checkpointing", less, args.steps, args.accumulate, args, environment)
    programs = [peer, saving] + [ours(*one, environment) for one in args.ours]
    for _ in range(args.rounds):
        for program in programs:
            program.turn(args.warm_up)
        limits.append(float(run(product, environment)[0]))

    lengths = json.loads((args.pairs / "lengths.json").read_text())
    operations = needed(args.model, lengths, lengths["images"])
    limit = statistics.median(limits)
    print("# Training beside PyTorch\n")
    print(
        f"{lengths['images']} real images with {lengths['pairs'] // lengths['images']} pairs each, "
        f"{lengths['tokens_a_pair']['mean']:.0f} tokens a pair ({lengths['tokens_a_pair']['min']} to "
        f"{lengths['tokens_a_pair']['max']}), {lengths['tree_tokens_an_image']['mean']:.0f} an image's tree: "
        f"{lengths['tokens_over_tree_tokens']:.2f} times fewer. {args.threads} threads, {platform.machine()}, "
        f"{args.rounds} rounds; the peer makes {args.steps} steps a turn, {args.batch * args.accumulate} pairs an "
        f"update. Matrix products in bf16 ({args.matmul} square): {limit:.0f} GFLOP/s, {min(limits):.0f} to "
        f"{max(limits):.0f} over the session.\n"
    )
    print(
        "| | s a step | pairs/s | as fast as PyTorch | tokens/s | data wait | share of the limit | peak MiB "
        "| of PyTorch's | of checkpointing's |"
    )
    print("| --- |" + " ---: |" * 9)
    for program in programs:
        fast = statistics.median(
            turn["samples"] / other["samples"] for turn, other in zip(program.turns, peer.turns)
        )
        way = "llava" if program in [peer, saving] else "none" if "none" in program.name else "tree"
        share = program.median("samples") * operations[way] / limit / 1e9
        memory = program.median("peak")
        print(
            f"| {program.name} | {program.median('seconds'):.2f} | {program.median('samples'):.4f} | **{fast:.2f}** | "
            f"{program.median('tokens'):.0f} | {program.median('data'):.1%} | {share:.0%} | {memory:.0f} | "
            f"{memory / peer.median('peak'):.2f} | {memory / saving.median('peak'):.2f} |"
        )
    print(f"\nThe peer: `{' '.join(fastest)}`.", end="")
    if tried:
        print(" Tried, pairs/s: " + "; ".join(f"`{' '.join(s)}` {rate:.4f}" for rate, s in tried) + ".", end="")
    print(
        "\n\nProducts of a pair, forward and backward, and pairs/s at the limit: "
        + "; ".join(
            f"{cost.TITLES[way]} {flops / 1e9:.1f} GFLOP, {limit / flops * 1e9:.3f}"
            for way, flops in operations.items()
        )
        + ".\n"
    )
    rounds = [f"{p.name} " + ", ".join(f"{t['samples']:.4f}" for t in p.turns) for p in programs]
    print(f"Each round, pairs/s: {'; '.join(rounds)}.")
    losses = [(p.name, p.turns[0]["losses"]) for p in programs if p.turns[0]["losses"]]
    shown = [f"{name} " + ", ".join(f"{loss:.3f}" for loss in values) for name, values in losses]
    print(f"\nLosses of the first turn: {'; '.join(shown)}.\n")
    print("```\n" + shlex.join(["python", *sys.argv]) + "\n```")


if __name__ == "__main__":
    main()
