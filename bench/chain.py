#!/usr/bin/env python3
"""How much of one process' decoding speed a chain of processes keeps.

bench/chain.py [--model PATH] [--streams 1 16] [--rounds 5] [--json FILE] [-- OPTION…]

The same prompt is decoded in turns by `catena generate` in one process and through `catena up` with
two shards and a head, each with all cores; the ratio is of the tokens a second once all streams
decode. OPTION…: of the model, both for `up` and for `generate`, for example
--weights random:1 --weight-format q4_0 with --model a config.json.

CATENA: the command, see common.py.
CATENA_SMOLLM2_GGUF: the default model (deploy/default_model.sh).
"""

import argparse
import os
import pathlib
import statistics
import sys

import common


def measure(model, options, streams, rounds, tokens):
    one, chain = [], []
    of_model = ["--model", model, *options]
    single = common.OneProcess(of_model)
    with common.Chain(of_model) as cluster:
        cluster.decode(streams, tokens)  # warm caches
        for _ in range(rounds):
            one.append(single.decode(streams, tokens))
            chain.append(cluster.decode(streams, tokens))
            print(f"  {streams:4d} streams  one process {one[-1]:8.1f} tok/s  "
                  f"chain {chain[-1]:8.1f} tok/s  {chain[-1] / one[-1]:.2f}", file=sys.stderr)
    return {"streams": streams, "one_process": statistics.median(one),
            "chain": statistics.median(chain), **common.ratio(chain, one)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=os.environ.get("CATENA_SMOLLM2_GGUF"))
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=200, help="new ones of each stream")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there too")
    parser.add_argument("options", nargs="*", metavar="OPTION")
    args = parser.parse_args()
    if not args.model:
        parser.error("give --model, or set CATENA_SMOLLM2_GGUF (deploy/default_model.sh has it)")
    rows = [measure(args.model, args.options, n, args.rounds, args.tokens) for n in args.streams]
    print(f"{'streams':>7} {'one process':>12} {'chain':>8} {'ratio':>6}  (min to max)")
    for row in rows:
        print(f"{row['streams']:7d} {row['one_process']:12.1f} {row['chain']:8.1f} "
              f"{row['ratio']:6.2f}  ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})")
    if args.json:
        common.write_json(args.json, {"model": args.model, "rows": rows})


if __name__ == "__main__":
    main()
