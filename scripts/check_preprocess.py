"""Compares the preprocessing of images with PIL's, on any folder.

    cargo build --release -p model --example preprocess
    pip install pillow==11.3.0 numpy
    python scripts/check_preprocess.py target/release/examples/preprocess FOLDER... [--side 336]
        [--fit pad|crop|stretch] [--each N]

For every image below the folders it takes the bytes before normalisation from both and prints the
largest difference in levels and the share of bytes that differ: one line for each image whose
difference is above one, and a table over all. (Pillow 13 resizes the columns of some images first,
which other versions never do; padded images are square, where it makes no difference.) Exits with 1 where there is such an image.
"""

import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile

import numpy
from PIL import Image

MEAN = (0.48145466, 0.4578275, 0.40821073)
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}


def reference(path, side, fit):
    """As LLaVA's `expand2square` and CLIP's processor do it."""
    with Image.open(path) as opened:
        kind = f"{opened.format} {opened.mode}"
        image = opened.convert("RGB")
    width, height = image.size
    if fit == "pad" and width != height:
        square = Image.new("RGB", (max(width, height),) * 2, tuple(int(v * 255) for v in MEAN))
        square.paste(image, ((max(width, height) - width) // 2, (max(width, height) - height) // 2))
        image = square
    if fit == "crop":
        short, long = min(width, height), max(width, height)
        long = int(side * long / short)
        size = (side, long) if width <= height else (long, side)
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    else:
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    return kind, numpy.asarray(image).transpose(2, 0, 1)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("program")
    arguments.add_argument("folders", nargs="+")
    arguments.add_argument("--side", type=int, default=336)
    arguments.add_argument("--fit", choices=["pad", "crop", "stretch"], default="pad")
    arguments.add_argument("--each", type=int, default=1, help="look at every Nth image")
    given = arguments.parse_args()
    files = sorted(
        path
        for folder in given.folders
        for path in pathlib.Path(folder).rglob("*")
        if path.suffix.lower() in SUFFIXES
    )[:: given.each]
    size = 3 * given.side**2
    kinds = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "pixels"
        subprocess.run(
            [given.program, given.fit, str(given.side), str(out)],
            input="\n".join(map(str, files)) + "\n",
            text=True,
            check=True,
        )
        found = numpy.memmap(out, numpy.uint8, "r").reshape(len(files), size)
        for index, path in enumerate(files):
            kind, expected = reference(path, given.side, given.fit)
            off = numpy.abs(found[index].astype(int) - expected.reshape(-1))
            kinds[kind].append((off.max(), (off > 0).mean()))
            if off.max() > 1:
                print(f"{path}: up to {off.max()} levels, {(off > 1).sum()} bytes over one")
    for kind, entries in sorted(kinds.items()):
        worst = max(level for level, _ in entries)
        share = sum(share for _, share in entries) / len(entries)
        over = sum(level > 1 for level, _ in entries)
        print(
            f"{kind}: {len(entries)} images, worst {worst} levels, {over} over one, "
            f"{100 * share:.2f}% of bytes differ"
        )
    sys.exit(any(level > 1 for entries in kinds.values() for level, _ in entries))


main()
