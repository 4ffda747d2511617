# /// script
# requires-python = ">=3.10"
# dependencies = ["tokenizers==0.22.2"]
# ///
"""Writes the pairs that training is measured on: real images with nine pairs each, as MathV360K has them.

    python bench/peers/train_data.py OUT --sources ../shared/data/sources \\
        --tokenizer ../shared/data/tokenizer/llama [--images 32] [--pairs 9] [--seed 0] [--bytes-a-pair 515]

OUT gets MathV360K's own layout, `train_samples_all_tuning.json` beside `data_images/<data set>/images/`,
which `math-llava import --source mathv360k` and LLaVA's trainer both read, and `lengths.json`. The same
arguments give the same bytes.

What is known of MathV360K's lengths, and how the pairs here follow it:

- about nine pairs share an image: the original, up to five asked about the image (AskImg), one more complex, one
  rephrased and one simplified. Here nine: the image's own questions first, then, where it has fewer,
  questions of other images of the same data set. A question of another image is as long as one's own;
  what it says is no matter for speed. (TabMWP has one question an image, ChartQA one to four, FigureQA about
  twelve.)
- a human turn is one of two hints, the question and the choices; hints, form and template v1 are fixed text;
- an answer is a letter, a number or at most ten words after "The answer is ";
- no token lengths are published. So none is forced here: questions and answers are those of three of its own
  data sets, which stand for its figure questions and word problems, and `lengths.json` says what comes out: about
  665 tokens a pair, 576 of them the image.
- the published file has 175 MB for 340,000 pairs, 515 bytes a pair. Pairs as above take 340 bytes on one line and 500
  indented by four; how the published file is laid out is not known. `--bytes-a-pair 515` gives the longest pairs that
  its size allows, those of a file without indentation: one own question an image, the rest drawn from the longest
  questions of all three data sets. Shared prefixes count for less then, so this is the harder case.
- the pairs of an image share what they share: the system sentence, the image, the hint, the first words of some
  questions. FigureQA's are made from patterns, so theirs share more; a teacher's would share less.
"""

import argparse
import json
import pathlib
import random
import shutil
import statistics

from llava_v1 import IGNORED, encode, open_tokenizer, tree_tokens

HINT_CHOICE = (
    "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end."
)
HINT_FREE = "Hint: Please answer the question and provide the final answer at the end."
IMAGE_TOKENS = 576


def turns(question, answer, choices=None, unit=None):
    """The human and the gpt turn in MathV360K's form."""
    text = f"{HINT_CHOICE if choices else HINT_FREE}\nQuestion: {question.strip()}"
    if unit:
        text += f" (Unit: {unit})"
    if choices:
        letters = [chr(ord("A") + i) for i in range(len(choices))]
        answer = letters[choices.index(answer)]
        text += "\nChoices:" + "".join(f"\n({letter}) {c}" for letter, c in zip(letters, choices))
    return f"<image>\n{text}", f"The answer is {answer}"


def tabmwp(root):
    problems = json.loads((root / "tabmwp/problems_dev1k.json").read_text())
    for pid in sorted(problems, key=int):
        p = problems[pid]
        yield root / f"tabmwp/tables/{pid}.png", [turns(p["question"], p["answer"], p["choices"], p["unit"])]


def figureqa(root):
    folder = root / "figureqa/sample_train1"
    by_image = {}
    for row in json.loads((folder / "qa_pairs.json").read_text())["qa_pairs"]:
        pair = turns(row["question_string"], "yes" if row["answer"] else "no")
        by_image.setdefault(row["image_index"], []).append(pair)
    for index in sorted(by_image):
        yield folder / f"png/{index}.png", by_image[index]


def chartqa(root):
    folder = root / "chartqa/test"
    by_image = {}
    for name in ["test_human.json", "test_augmented.json"]:
        for row in json.loads((folder / name).read_text()):
            by_image.setdefault(row["imgname"], []).append(turns(row["query"], row["label"]))
    for name in sorted(by_image):
        yield folder / f"png/{name}", by_image[name]


DATA_SETS = {"TabMWP": tabmwp, "FigureQA": figureqa, "ChartQA": chartqa}


def entry(number, image, human, gpt):
    return {
        "id": f"identity_{number}",
        "image": image,
        "conversations": [{"from": "human", "value": human}, {"from": "gpt", "value": gpt}],
    }


def size(pair):
    """Bytes of a pair on one line of JSON, with the comma after it."""
    return len(json.dumps(entry(100_000, "TabMWP/images/1000.png", *pair), ensure_ascii=False).encode()) + 2


def longest(pool, mean):
    """As many of the longest pairs as have this mean size."""
    pool = sorted(pool, key=lambda pair: (-size(pair), pair))
    total = 0
    for count, pair in enumerate(pool, 1):
        total += size(pair)
        if total < mean * count:
            return pool[: count - 1]
    return pool


def choose(images, pool, count, keep, pairs, rng):
    """Some images with so many different pairs each: up to `keep` of their own, the rest from the pool."""
    if count > len(images):
        raise SystemExit(f"{len(images)} images where {count} are asked for: give a smaller --images")
    for path, own in sorted(rng.sample(images, count)):
        chosen = own[:keep]
        while len(chosen) < pairs:
            pair = rng.choice(pool)
            if all(pair[0] != other for other, _ in chosen):
                chosen.append(pair)
        yield path, chosen


def spread(values):
    values = sorted(values)
    return {
        "mean": round(statistics.fmean(values), 1),
        "min": values[0],
        "p50": values[len(values) // 2],
        "p95": values[len(values) * 95 // 100],
        "max": values[-1],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sources", type=pathlib.Path, default=pathlib.Path("../shared/data/sources"))
    parser.add_argument("--tokenizer", type=pathlib.Path, default=pathlib.Path("../shared/data/tokenizer/llama"))
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--bytes-a-pair", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tokenizer = open_tokenizer(args.tokenizer)
    rng = random.Random(args.seed)
    entries, lengths, labels, questions, shared = [], [], [], [], []
    found = {
        name: [(path, list(dict.fromkeys(own))) for path, own in read(args.sources) if path.exists()]
        for name, read in DATA_SETS.items()
    }
    pools = {name: [pair for _, own in images for pair in own] for name, images in found.items()}
    keep = args.pairs
    if args.bytes_a_pair:
        keep = 1
        everything = longest(set().union(*pools.values()), args.bytes_a_pair)
        if len(everything) < args.pairs:
            raise SystemExit(f"no {args.pairs} pairs are so long: give a smaller --bytes-a-pair")
        pools = dict.fromkeys(pools, everything)
    for place, (name, images) in enumerate(found.items()):
        count = args.images // len(found) + (place < args.images % len(found))
        folder = args.out / "data_images" / name / "images"
        folder.mkdir(parents=True, exist_ok=True)
        for path, chosen in choose(images, pools[name], count, keep, args.pairs, rng):
            shutil.copyfile(path, folder / path.name)
            sequences = []
            for human, gpt in chosen:
                entries.append(entry(len(entries), f"{name}/images/{path.name}", human, gpt))
                ids, targets = encode(tokenizer, human, gpt, IMAGE_TOKENS, tokenizer.get_vocab_size())
                sequences.append(ids)
                lengths.append(len(ids))
                labels.append(sum(t != IGNORED for t in targets))
                said = human.split("Question: ", 1)[1]
                questions.append(len(tokenizer.encode(said, add_special_tokens=False).ids))
            shared.append(tree_tokens(sequences))
    summary = {
        "images": args.images,
        "pairs": len(entries),
        "tokens_a_pair": spread(lengths),
        "question_and_choices": spread(questions),
        "labels_a_pair": spread(labels),
        "bytes_a_pair": round(statistics.fmean(len(json.dumps(e, ensure_ascii=False).encode()) + 2 for e in entries)),
        "tokens": sum(lengths),
        "tree_tokens": sum(shared),
        "tree_tokens_an_image": spread(shared),
        "tokens_over_tree_tokens": round(sum(lengths) / sum(shared), 3),
    }
    (args.out / "train_samples_all_tuning.json").write_text(json.dumps(entries, ensure_ascii=False, indent=1))
    (args.out / "lengths.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
