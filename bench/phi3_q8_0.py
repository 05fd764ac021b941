#!/usr/bin/env python3
"""Phi-3-mini's shape in Q8_0, prefill and decode, beside llama.cpp.

bench/phi3_q8_0.py [--model FILE] [--rounds 5] [--json FILE] [--markdown]
How it is measured: bench/peers.py.
"""

import peers

if __name__ == "__main__":
    peers.main(__doc__, peers.phi3("q8_0"),
               [peers.Prefill(512, least=4), peers.Decode(1, least=1.1)])
