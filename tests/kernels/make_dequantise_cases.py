#!/usr/bin/env python3
"""Writes dequantise_cases.txt: blocks of every quantised type and the values that gguf-py gives.

    python3 -m venv V && V/bin/pip install gguf==0.19.0
    V/bin/python tests/kernels/make_dequantise_cases.py > tests/kernels/dequantise_cases.txt

A line a type: its name, the bytes of its blocks, the bits of their values as float32, both in
hexadecimal.
"""

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Where a block has its 16-bit floats.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
          "IQ4_NL": [0], "MXFP4": [], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0]}


def main():
    rng = np.random.default_rng(1)
    for name, halves in HALVES.items():
        kind = GGMLQuantizationType[name]
        values, size = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (512 // values if values == 32 else 2, size), dtype=np.uint8)
        for at in halves:
            d = (rng.standard_normal(len(blocks)) * 0.01).astype(np.float16)
            blocks[:, at:at + 2] = d.view(np.uint8).reshape(-1, 2)
        if name == "MXFP4":  # each exponent but infinity's, which gguf-py takes for a number too
            blocks[:, 0] = np.linspace(0, 250, len(blocks)).astype(np.uint8)
            blocks[1, 0] = 1
        row = dequantize(blocks.reshape(1, -1), kind).astype("<f4")
        print(name.lower(), blocks.tobytes().hex(), row.tobytes().hex())


main()
