#!/usr/bin/env python3
"""SmolLM2-135M in Q4_1, prefill and decode, beside llama.cpp.

bench/smollm2.py [--model FILE] [--rounds 5] [--json FILE] [--markdown]
How it is measured: bench/peers.py.
"""

import peers

if __name__ == "__main__":
    peers.main(__doc__, peers.smollm2,
               [peers.Prefill(512, least=7.5), peers.Decode(1, least=1.9)], tokens=128)
