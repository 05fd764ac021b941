#!/usr/bin/env python3
"""How much of one process' decoding speed a chain of processes keeps.

bench/chain.py [--model PATH] [--streams 1 16] [--rounds 5] [--json FILE] [-- OPTION…]

The same prompt is decoded in turns by `catena generate` in one process and through `catena up` with
two shards and a head, each with all cores; the ratio is of the tokens a second once all streams
decode. OPTION…: of the model, both for `up` and for `generate`, for example
--weights random:1 --weight-format q4_0 with --model a config.json.

CATENA, CATENA_SMOLLM2_GGUF: the command and the default model (deploy/default_model.sh).
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CATENA = os.environ.get("CATENA", str(ROOT / "build/release/bin/catena"))
PROMPT = "1,40,7,30,22,9,14,3"  # ids that every vocabulary has


def decode_seconds(options, streams, tokens):
    """From the first token of a stream to its last, of the slowest stream."""
    command = [CATENA, "generate", *options, "--prompt-tokens", PROMPT, "--n", streams,
               "--max-tokens", tokens, "--ignore-eos", "--json"]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(line["token_ids"]) for line in lines] == [tokens] * streams
    return max(line["stats"]["decode_s"] for line in lines)


def speed(options, streams, tokens):
    """Tokens a second of all streams together, once all decode: a chain's first streams decode
    while the last ones' prompts are computed, so a short run is taken from a long one."""
    start = tokens // 4
    seconds = decode_seconds(options, streams, tokens) - decode_seconds(options, streams, start)
    return streams * (tokens - start) / seconds


class Chain:
    """`catena up` with two shards."""

    def __init__(self, options):
        self.process = subprocess.Popen(
            [CATENA, "up", "--json", "--stages", "2", "--log-level", "error", *options],
            stdout=subprocess.PIPE)
        self.gateway = json.loads(self.process.stdout.readline())["gateway"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def measure(model, options, streams, rounds, tokens):
    one, chain = [], []
    of_model = ["--model", model, *options]
    with Chain(of_model) as cluster:
        through = ["--gateway", cluster.gateway]
        speed(through, streams, tokens)  # warm caches
        for _ in range(rounds):
            one.append(speed(of_model, streams, tokens))
            chain.append(speed(through, streams, tokens))
            print(f"  {streams:4d} streams  one process {one[-1]:8.1f} tok/s  "
                  f"chain {chain[-1]:8.1f} tok/s  {chain[-1] / one[-1]:.2f}", file=sys.stderr)
    ratios = [c / o for c, o in zip(chain, one)]
    return {"streams": streams, "one_process": statistics.median(one),
            "chain": statistics.median(chain), "ratio": statistics.median(ratios),
            "ratio_min": min(ratios), "ratio_max": max(ratios)}


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
        args.json.write_text(json.dumps({"model": args.model, "rows": rows}, indent=1) + "\n",
                             encoding="utf-8")


if __name__ == "__main__":
    main()
