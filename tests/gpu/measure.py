#!/usr/bin/env python3
"""Every test and benchmark that wants a GPU, in one go: tests/gpu/run.sh.

Ends with 0 where all that can be measured was, and all that was compared is right; 1 where not; 2
where there is nothing to measure on. A goal that is missed is in the table and ends nothing.
"""

import argparse
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import time

import parts
import table

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# What is worth most comes first; seconds that each may take, with the load of its model.
GROUPS = (
    {"copy": 30, "ops": 50},
    {"phi3 bf16 decode 1": 60, "phi3 bf16 batches": 20, "phi3 bf16 prefill": 20,
     "phi3 bf16 decode 8": 25},
    {"phi3 q4_0 decode 1": 50, "phi3 q4_0 batches": 20},
    {"llama-1b bf16 decode 1": 30},
)
LAST_GROUPS = (
    {"phi3 bf16 book": 60, "phi3 bf16 decode 64": 50},
    {"ops at model shapes": 60},
)
BF16_RATE_S, TRANSFORMERS_S, SANITIZER_S = 40, 90, 45


def gpu_name():
    """As nvidia-smi says it; None where there is no GPU."""
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total",
                               "--format=csv,noheader"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout else None


class Measurement:
    """Runs the parts; what is known is in the file at any time."""

    def __init__(self, args, gpu):
        self.args, self.gpu = args, gpu
        self.clock = parts.Clock(args.budget)
        self.command = [args.bench, "--shapes", str(ROOT / "bench/shapes")]
        if args.small:
            self.command.append("--small")
        self.results = {}
        self.path = pathlib.Path(args.out) / "gpu.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def keep(self, name, figures):
        self.results[name] = figures
        print(f"== {name}: {json.dumps(figures)}", file=sys.stderr, flush=True)
        self.write()

    def write(self):
        rows = [dataclasses.asdict(line) for line in table.lines(self.results, self.gpu)]
        whole = {"gpu": self.gpu, "small": self.args.small, "table": rows, "figures": self.results}
        self.path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")

    def rows(self, group):
        parts.measure_rows(self.command, list(group), self.clock, group, self.keep)

    def program(self, name, command, limit_s):
        self.keep(name, parts.measure_program(command, self.clock.limit(limit_s)))

    def sanitizer(self, tool):
        """Of the small ops: the tool takes a hundred times as long."""
        program = shutil.which("compute-sanitizer") or "compute-sanitizer"
        command = [program, "--tool", tool, "--error-exitcode", "9", self.args.bench,
                   "--small", "--shapes", str(ROOT / "bench/shapes"), "ops"]
        self.program(tool, command, SANITIZER_S)

    def run(self):
        for group in GROUPS:
            self.rows(group)
        peers = [sys.executable, str(HERE / "peers.py")]
        if not self.args.small:
            self.program("bf16 rate", [*peers, "bf16-rate"], BF16_RATE_S)
            self.program("transformers", [*peers, "transformers",
                                          str(ROOT / "bench/shapes/phi3-mini.json")],
                         TRANSFORMERS_S)
        for group in LAST_GROUPS:
            self.rows(group)
        if not self.args.small:
            for tool in ("memcheck", "racecheck"):
                self.sanitizer(tool)
        self.write()
        return table.lines(self.results, self.gpu)


def main():
    parser = argparse.ArgumentParser(prog="tests/gpu/run.sh", description=__doc__)
    parser.add_argument("--bench", default=str(ROOT / "build/gpu/gpu_bench"),
                        help="what tests/gpu/build.sh made (build/gpu/gpu_bench)")
    parser.add_argument("--out", default=str(ROOT / "build/gpu"),
                        help="the folder of gpu.json (build/gpu)")
    parser.add_argument("--budget", type=float, default=285, help="seconds for the whole (285)")
    parser.add_argument("--small", action="store_true",
                        help="a tiny model, no peers, and no GPU is asked for: tries the script")
    args = parser.parse_args()
    if not pathlib.Path(args.bench).is_file():
        print(f"tests/gpu/run.sh: there is no {args.bench}: make it with tests/gpu/build.sh, where "
              "all that the build needs is, and copy it here", file=sys.stderr)
        return 2
    gpu = "none: a tiny model, to try the script" if args.small else gpu_name()
    if gpu is None:
        print("tests/gpu/run.sh: nvidia-smi finds no NVIDIA GPU here: nothing was measured",
              file=sys.stderr)
        return 2
    start = time.monotonic()
    measurement = Measurement(args, gpu)
    lines = measurement.run()
    print(f"GPU: {gpu}; {time.monotonic() - start:.0f} s; {measurement.path}\n")
    print(table.text(lines))
    return 1 if table.failed(lines) else 0


if __name__ == "__main__":
    sys.exit(main())
