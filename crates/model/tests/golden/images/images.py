"""Makes the goldens of this folder: images of every mode, and what transformers' processors see.

    pip install torch==2.11.0 transformers==4.57.1 pillow==11.3.0 numpy safetensors
    python images.py

`pixels.safetensors` has, for `IMAGE.FIT`, the bytes before rescaling, [3, 28, 28]: `pad` is
LlavaImageProcessor's with `do_pad`, `crop` CLIPImageProcessor's, `stretch` SiglipImageProcessor's,
`dino` that of DINOv2's folders (BitImageProcessor, shorter side 32, middle 28). Pictures are drawn
with hard edges, where filters differ most.

Pillow 13 resizes the columns of some images before their rows, where that is less work; what LLaVA
and the towers were trained with resized rows first, and so did every Pillow until then.
"""

import pathlib

import numpy
import torch
import transformers
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import BitImageProcessor, CLIPImageProcessor, SiglipImageProcessor
from transformers.models.llava.image_processing_llava import LlavaImageProcessor

assert transformers.__version__ == "4.57.1", transformers.__version__
HERE = pathlib.Path(__file__).parent
SIDE = 28


def picture(width, height):
    """Lines, blocks and a gradient, in RGB."""
    y, x = numpy.mgrid[0:height, 0:width]
    array = numpy.stack([x * 255 // width, y * 255 // height, (x * 7 + y * 13) % 256], -1)
    image = Image.fromarray(array.astype("uint8"))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 8, height // 4, width // 2, height // 2), fill=(255, 255, 255))
    draw.line((0, height - 1, width - 1, 0), fill=(0, 0, 0), width=1)
    draw.rectangle((width * 2 // 3, height // 2, width - 3, height - 2), outline=(255, 0, 0))
    return image


def images():
    wide, tall = picture(61, 40), picture(33, 70)
    alpha = Image.fromarray((numpy.mgrid[0:40, 0:61][1] * 4 % 256).astype("uint8"))
    clear = wide.copy()
    clear.putalpha(alpha)
    palette = tall.quantize(13)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: not applied by `convert`
    deep = Image.fromarray((numpy.mgrid[0:40, 0:61][0] * 11).astype("uint16"))
    return {
        "wide.png": (wide, {}),
        "tall.png": (tall, {}),
        "small.png": (picture(17, 11), {}),
        "narrow.png": (picture(9, 90), {}),
        "exact.png": (picture(28, 28), {}),
        "rgba.png": (clear, {}),
        "grey.png": (tall.convert("L"), {}),
        "grey_alpha.png": (clear.convert("LA"), {}),
        "palette.png": (palette, {}),
        "palette_clear.png": (palette, {"transparency": 3}),
        "bits.png": (wide.convert("1"), {}),
        "grey16.png": (deep, {}),
        "photo.jpg": (picture(90, 60), {"quality": 90}),
        "turned.jpg": (picture(60, 90), {"quality": 95, "subsampling": 0, "exif": exif}),
        "cmyk.jpg": (wide.convert("CMYK"), {"quality": 95}),
        "grey.jpg": (tall.convert("L"), {"quality": 90}),
        "frames.gif": (wide.quantize(31), {}),
        "lossless.webp": (clear, {"lossless": True, "exact": True}),
    }


def main():
    raw = {"do_rescale": False, "do_normalize": False}
    square = {"shortest_edge": SIDE}
    crop = {"height": SIDE, "width": SIDE}
    processors = {
        "pad": LlavaImageProcessor(do_pad=True, size=square, crop_size=crop, **raw),
        "crop": CLIPImageProcessor(size=square, crop_size=crop, **raw),
        "stretch": SiglipImageProcessor(size=crop, do_convert_rgb=True, **raw),
        "dino": BitImageProcessor(
            size={"shortest_edge": 32}, crop_size=crop, resample=3, do_convert_rgb=True, **raw
        ),
    }
    tensors = {}
    for name, (image, options) in images().items():
        image.save(HERE / name, **options)
        for fit, processor in processors.items():
            with Image.open(HERE / name) as opened:
                # As LLaVA opens images; its processor pads what is RGB already.
                values = processor(opened.convert("RGB"), return_tensors="np")["pixel_values"][0]
            assert values.shape == (3, SIDE, SIDE), (name, fit, values.shape)
            assert values.min() >= 0 and values.max() <= 255
            tensors[f"{name}/{fit}"] = torch.from_numpy(values.astype("uint8").copy())
    save_file(tensors, HERE / "pixels.safetensors")


main()
