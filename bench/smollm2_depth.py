#!/usr/bin/env python3
"""SmolLM2-135M in Q4_1, decode at a context of 3,500 tokens, beside llama.cpp.

bench/smollm2_depth.py [--model FILE] [--rounds 5] [--json FILE] [--markdown]
How it is measured: bench/peers.py.
"""

import peers

if __name__ == "__main__":
    peers.main(__doc__, peers.smollm2, [peers.Decode(1, least=3, depth=3500)], tokens=64)
