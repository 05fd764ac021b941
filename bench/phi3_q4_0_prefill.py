#!/usr/bin/env python3
"""Phi-3-mini's shape in Q4_0, prefill, beside llama.cpp.

bench/phi3_q4_0_prefill.py [--model FILE] [--rounds 5] [--json FILE] [--markdown]
How it is measured: bench/peers.py.
"""

import peers

if __name__ == "__main__":
    peers.main(__doc__, peers.phi3("q4_0"), [peers.Prefill(512, least=3.6)])
