#!/usr/bin/env python3
"""Phi-3-mini's shape in Q4_0 through two shards, beside two RPC servers of llama.cpp.

bench/phi3_two_shards.py [--model FILE] [--rounds 5] [--json FILE] [--markdown]
How it is measured: bench/peers.py.
Each shard and each server has one thread. Catena's head is a third process with a thread; llama.cpp
has the head in its second server.
"""

import peers

if __name__ == "__main__":
    peers.main(__doc__, peers.phi3("q4_0"), [peers.Decode(1, least=2.2), peers.Decode(4, least=3)],
               peers.two_shards, threads=1)
