#!/usr/bin/env python3
"""What speculation gains where a text says again what its prompt says: a summary, through 4 shards.

bench/speculate.py [--model PATH] [--drafts 4 8] [--rounds 5] [--json FILE]

The default model sums a text up in turns without guesses and with up to so many a step, greedily
and sampled. Every run of a round must write the same tokens; the ratio is of the tokens a second
once it writes.

CATENA: the command, see common.py.
CATENA_SMOLLM2_GGUF: the default model (deploy/default_model.sh).
"""

import argparse
import json
import os
import pathlib
import statistics
import sys

import common

STAGES = 4
TOKENS = 160
PROMPT = """Summarise the following text in your own words. Keep every number.

The Loire is the longest river in France. It rises in the south of the Massif Central, at the foot
of Mont Gerbier de Jonc, and flows north to Orleans and then west to the Atlantic Ocean, which it
reaches at Saint-Nazaire. The Loire is 1,006 kilometres long, and its basin of 117,000 square
kilometres covers more than a fifth of the country. Its largest tributaries are the Allier, the
Cher, the Indre, the Vienne and the Maine. The valley between Sully-sur-Loire and Chalonnes has
been a World Heritage Site since the year 2000, for its castles, its vineyards and its old towns:
Orleans, Blois, Tours, Saumur and Nantes. The flow of the Loire changes much with the seasons. In
August it may fall to 50 cubic metres a second at Tours; a flood may bring 6,000. Barges went up as
far as Roanne until the railways came. Today sand banks make most of the river unfit for ships, and
four nuclear power stations use its water for cooling."""
SAMPLINGS = {"greedy": ["--temperature", "0"],
             "sampled": ["--temperature", "0.7", "--top-p", "0.9", "--seed", "11"]}


def write(chain, sampling, drafts):
    return json.loads(common.output(
        [common.CATENA, "generate", *chain.options, "--chat", "--prompt", PROMPT, "--json",
         "--max-tokens", TOKENS, "--ignore-eos", "--speculate", drafts, *SAMPLINGS[sampling]]))


def measure(chain, sampling, counts, rounds):
    """A row for each count of guesses, the first of which is 0."""
    speeds = {drafts: [] for drafts in counts}
    stats = {}
    for i in range(rounds):
        texts = set()
        for drafts in counts:
            line = write(chain, sampling, drafts)
            stats[drafts] = line["stats"]
            speeds[drafts].append((TOKENS - 1) / stats[drafts]["decode_s"])
            texts.add(tuple(line["token_ids"]))
            print(f"  round {i + 1}  {sampling:8} {drafts:3d} guesses "
                  f"{speeds[drafts][-1]:8.1f} tok/s", file=sys.stderr)
        assert len(texts) == 1, "speculation changed the text"
    return [{"sampling": sampling, "drafts": drafts,
             "drafted": stats[drafts].get("drafted_tokens", 0),
             "accepted": stats[drafts].get("accepted_tokens", 0),
             "tokens_per_s": statistics.median(speeds[drafts]),
             **common.ratio(speeds[drafts], speeds[0])} for drafts in counts]


def print_table(rows):
    print(f"{'sampling':8} {'guesses':>7} {'right':>12} {'tok/s':>8} {'ratio':>6}  (min to max)")
    for row in rows:
        right = f"{row['accepted']} of {row['drafted']}"
        print(f"{row['sampling']:8} {row['drafts']:7d} {right:>12} {row['tokens_per_s']:8.1f} "
              f"{row['ratio']:6.2f}  ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=os.environ.get("CATENA_SMOLLM2_GGUF"))
    parser.add_argument("--drafts", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there too")
    args = parser.parse_args()
    if not args.model:
        parser.error("give --model, or set CATENA_SMOLLM2_GGUF (deploy/default_model.sh has it)")
    with common.Chain(["--model", args.model], stages=STAGES) as chain:
        write(chain, "greedy", 0)  # warm caches
        rows = [row for sampling in SAMPLINGS
                for row in measure(chain, sampling, [0, *args.drafts], args.rounds)]
    print_table(rows)
    if args.json:
        common.write_json(args.json, {"model": args.model, "stages": STAGES, "rows": rows})


if __name__ == "__main__":
    main()
