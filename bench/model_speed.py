"""Answering beside its peers in one run: prints medians and ratios as a table.

    model_speed.py --ours model_speed_binary [--llama-python PY --llama MODEL.gguf [--mmproj FILE]]
                   [--torch-python PY] [--shape small] [--how none] [--threads 2] [--runs 7] TASK...

Each program keeps its model loaded in a process of its own. For each task the programs take turns, so
that what else the machine does falls on all alike; ratios are medians over pairs of turns.
"""

import argparse
import os
import pathlib
import statistics
import subprocess

HERE = pathlib.Path(__file__).parent


class Program:
    def __init__(self, name, command, threads):
        self.name = name
        environment = os.environ | {"OMP_NUM_THREADS": threads}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )
        line = self.process.stdout.readline()
        assert line.startswith("ready"), (name, line)

    def run(self, task):
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--llama-python")
    parser.add_argument("--llama")
    parser.add_argument("--mmproj")
    parser.add_argument("--torch-python")
    parser.add_argument("--shape", default="small")
    parser.add_argument("--how", default="none")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("tasks", nargs="+")
    args = parser.parse_args()
    extra = ["questions"] if "questions" in args.tasks else []
    programs = [Program("math-llava", [args.ours, args.shape, args.threads, args.how, "bf16", *extra], args.threads)]
    if args.llama:
        command = [args.llama_python, str(HERE / "python/speed_llama.py"), args.llama, args.threads]
        programs.append(Program("llama.cpp", command + ([args.mmproj] if args.mmproj else []), args.threads))
    if args.torch_python:
        command = [args.torch_python, str(HERE / "python/speed_torch.py"), args.shape, args.threads]
        programs.append(Program("transformers", command, args.threads))
    print(f"shape {args.shape}, weights {args.how}, {args.threads} threads, {args.runs} turns each")
    for task in args.tasks:
        for program in programs:
            program.run(task)
        turns = [[program.run(task) for program in programs] for _ in range(args.runs)]
        columns = list(zip(*turns))
        for program, column in zip(programs, columns):
            ratio = statistics.median(theirs / ours for ours, theirs in zip(columns[0], column))
            beside = "" if program is programs[0] else f", ours is {ratio:.2f} times as fast"
            print(f"{task:10} {program.name:12} {statistics.median(column) * 1e3:9.1f} ms{beside}", flush=True)


if __name__ == "__main__":
    main()
