"""Makes `nf4.safetensors`: a weight in 4-bit NormalFloat as bitsandbytes keeps it.

    pip install torch==2.11.0 bitsandbytes==0.48.2 safetensors==0.8.0
    python nf4.py

Blocks of 64, scales in f32 and not quantised again. One block has a single
large value. (Blocks of zeros have other codes here, and the same values.)
"""

import pathlib

import bitsandbytes
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from safetensors.torch import save_file

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert bitsandbytes.__version__ == "0.48.2", bitsandbytes.__version__


def main():
    torch.manual_seed(7)
    weight = torch.randn(16, 256) * torch.rand(16, 1)
    weight[5, 70] = 40
    codes, state = quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=False)
    dense = dequantize_4bit(codes, state)
    tensors = {"weight": weight, "codes": codes, "scales": state.absmax, "dense": dense}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, pathlib.Path(__file__).with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
