#!/usr/bin/env python3
"""SmolLM2-135M in Q4_1, decode of 16 and 32 sequences together, beside llama.cpp.

bench/smollm2_streams.py [--model FILE] [--rounds 5] [--json FILE] [--markdown]
How it is measured: bench/peers.py.
"""

import peers

if __name__ == "__main__":
    peers.main(__doc__, peers.smollm2, [peers.Decode(16, least=7), peers.Decode(32, least=8)],
               tokens=64)
