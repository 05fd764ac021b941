#!/usr/bin/env python3
"""Phi-3-mini's shape in BF16 with bfloat16 activations, prefill and decode, beside llama.cpp.

bench/phi3_bf16.py [--model FILE] [--rounds 5] [--json FILE] [--markdown]
How it is measured: bench/peers.py.
"""

import functools

import peers

if __name__ == "__main__":
    peers.main(__doc__, peers.phi3("bf16"),
               [peers.Prefill(128, least=1.6), peers.Decode(1, least=1.0)],
               functools.partial(peers.one_process, options=["--activations", "bf16"]))
