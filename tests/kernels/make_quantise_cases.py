#!/usr/bin/env python3
"""Writes quantise_cases.txt: rows of float32 and the blocks that gguf-py makes of them.

    python3 -m venv V && V/bin/pip install gguf==0.19.0
    V/bin/python tests/kernels/make_quantise_cases.py > tests/kernels/quantise_cases.txt

A line a row, `row NAME VALUES`, then one for each type that gguf-py quantises to, `TYPE NAME
BLOCKS`; bits and bytes in hexadecimal. Rows whose scale is out of fp16's range or has no reciprocal
are left out: gguf-py writes infinities there.
"""

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize

TYPES = ["BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4"]
VALUES = 256


def rows(rng):
    normal = rng.standard_normal(VALUES)
    outlier = normal * 0.02
    outlier[::32] = 6e4
    return {
        "weights": normal * 0.02,
        "wide": normal * np.exp(rng.standard_normal(VALUES) * 3),
        "zero": np.zeros(VALUES),
        "constant": np.full(VALUES, 0.3),
        "negative": np.full(VALUES, -1.7),
        "positive": np.abs(normal) + 1,
        "tiny": normal * 1e-9,  # the scale is zero in fp16
        "subnormal": normal * 1e-6,  # and here without its leading bit
        "huge": rng.uniform(-6e4, 6e4, VALUES),
        "outlier": outlier,
        "ties": rng.integers(-16, 17, VALUES) / 2,
        "opposite": np.tile([-3.0, 3.0], VALUES // 2),  # two values of the largest magnitude
    }


def main():
    rng = np.random.default_rng(2)
    for name, values in rows(rng).items():
        row = values.astype("<f4")
        print("row", name, row.tobytes().hex())
        for kind in TYPES:
            blocks = quantize(row.reshape(1, -1), GGMLQuantizationType[kind])
            print(kind.lower(), name, blocks.tobytes().hex())


main()
