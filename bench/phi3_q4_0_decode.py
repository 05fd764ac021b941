#!/usr/bin/env python3
"""Phi-3-mini's shape in Q4_0, decode of 1, 4 and 16 sequences, beside llama.cpp.

bench/phi3_q4_0_decode.py [--model FILE] [--rounds 5] [--json FILE] [--markdown]
How it is measured: bench/peers.py.
"""

import peers

if __name__ == "__main__":
    peers.main(__doc__, peers.phi3("q4_0"),
               [peers.Decode(1, least=1.2), peers.Decode(4, least=2), peers.Decode(16, least=2.8),
                peers.StepGrowth(4, most=1.15)])
