"""Catena beside llama.cpp: a row of docs/PERFORMANCE.md, measured in turns.

A script names the model, the figures and what ratio is wanted, and calls main(). Each round runs
Catena, then llama.cpp without and with flash attention, of which the one with the better median is
compared. All read the same GGUF file.

CATENA, LLAMA_CPP: see common.py and llama_cpp.py.
CATENA_SMOLLM2_GGUF: the default model (deploy/default_model.sh).
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

import common
import llama_cpp
import make_phi3_gguf

# --- figures: what is measured, and what a run of it cannot do without ---


class Prefill(NamedTuple):
    tokens: int
    least: float  # wanted: Catena's speed over llama.cpp's

    def __str__(self):
        return f"prefill {self.tokens}"

    def speed(self, system, _):
        return system.prefill(self.tokens)

    def step(self, model, _):
        return Step(rows=self.tokens, logits=1, kv_tokens=self.tokens, model=model)


class Decode(NamedTuple):
    streams: int
    least: float
    depth: int = 0  # tokens of context before; 0: next to none

    def __str__(self):
        together = f"{self.streams} sequences" if self.streams > 1 else "1 sequence"
        return f"decode {together}" + (f" after {self.depth} tokens" if self.depth else "")

    def speed(self, system, tokens):
        return system.decode(self.streams, tokens, *([self.depth] if self.depth else []))

    def step(self, model, tokens):
        context = (self.depth or common.SHORT_PROMPT) + tokens / 2
        return Step(rows=self.streams, logits=self.streams, kv_tokens=self.streams * context,
                    model=model)


class StepGrowth(NamedTuple):
    """How much longer a step of several sequences takes than a step of one."""
    streams: int
    most: float

    def __str__(self):
        return f"step of {self.streams} sequences / of 1"


class Step(NamedTuple):
    """`rows` through all blocks, `logits` of them through the head too; model: its facts."""
    rows: int
    logits: int
    kv_tokens: float
    model: dict

    def seconds(self, machine):
        """No machine with these limits is faster: it reads weights and KV cache once, and does the
        multiplications of the weights. Those of attention are left out."""
        block, head, layers = self.model["block"], self.model["head"], self.model["n_layers"]
        read = (layers * block["bytes"] + head["bytes"] +
                self.kv_tokens * self.model["kv_bytes_per_token"])
        macs = self.rows * layers * block["parameters"] + self.logits * head["parameters"]
        peak = machine["f32_macs_per_s"]
        if block["dtypes"].startswith("q"):
            peak = machine["int8_macs_per_s"]
        elif block["dtypes"].startswith("bf16"):
            peak = machine.get("bf16_macs_per_s") or peak
        return max(read / machine["read_bytes_per_s"], macs / peak)


def limits(threads):
    """What so many threads of this machine do at most, or None where the command fails."""
    try:
        done = common.output([common.CATENA, "bench", "machine", "--threads", threads, "--json"],
                             stderr=subprocess.DEVNULL)
    except subprocess.CalledProcessError:
        return None
    return json.loads(done)


# --- models ---


@contextlib.contextmanager
def smollm2(path):
    path = path or os.environ.get("CATENA_SMOLLM2_GGUF")
    if not path:
        sys.exit("give --model, or set CATENA_SMOLLM2_GGUF (deploy/default_model.sh has it)")
    yield pathlib.Path(path)


def phi3(weight_format):
    """Phi-3-mini's shape. A file that is not there yet is written, and kept if it has a name."""
    @contextlib.contextmanager
    def file(path):
        with tempfile.TemporaryDirectory(prefix="catena-bench-") as folder:
            path = path or pathlib.Path(folder) / f"phi3-{weight_format}.gguf"
            if not path.exists():
                print(f"  writing {path}", file=sys.stderr)
                make_phi3_gguf.write(path, weight_format)
            yield path
    return file


# --- systems ---

FLASH_ATTENTION = ("off", "on")


def _llama_cpp(model, threads, options=()):
    return {f"llama.cpp, flash attention {setting}":
            llama_cpp.LlamaCpp(model, threads, setting, options) for setting in FLASH_ATTENTION}


@contextlib.contextmanager
def one_process(model, threads, options=()):
    """options: of Catena."""
    yield {"Catena": common.OneProcess(["--model", model, "--threads", threads, *options]),
           **_llama_cpp(model, threads)}


@contextlib.contextmanager
def two_shards(model, threads):
    """Two shards of Catena against two RPC servers of llama.cpp; all wait while another works."""
    of_model = ["--model", str(model), "--threads", str(threads)]
    with llama_cpp.rpc_servers(2, threads) as options, common.Chain(of_model) as chain:
        yield {"Catena": chain, **_llama_cpp(model, threads, options)}


# --- measuring ---


def measure(figures, systems, rounds, tokens, threads):
    """{figure: {system: tokens a second, one a round}}, and the machine's limits at each round: a
    machine that is shared does not always have the same bandwidth."""
    speeds = {figure: {name: [] for name in systems} for figure in figures}
    machines = []
    for i in range(rounds):
        machines.append(limits(threads))
        for figure in figures:
            for name, system in systems.items():
                speed = figure.speed(system, tokens)
                speeds[figure][name].append(speed)
                print(f"  round {i + 1}  {figure!s:35} {name:30} {speed:9.2f} tok/s",
                      file=sys.stderr)
    return speeds, machines


def compared(figure, speeds, share):
    """A row of the table; share: the parts of the machine's limits that speeds are, or None."""
    ours, *others = speeds
    other = max(others, key=lambda name: statistics.median(speeds[name]))
    row = {"what": str(figure), "wanted": f">= {figure.least}"}
    row |= common.ratio(speeds[ours], speeds[other])
    row["reached"] = row["ratio"] >= figure.least
    for key, name in (("catena", ours), ("llama_cpp", other)):
        row |= {f"{key}_tokens_per_s": statistics.median(speeds[name]),
                f"{key}_share_of_limit": share(speeds[name])}
    return row | {"against": other, "rounds": speeds}


def growth(figure, speeds):
    """A row of Catena alone, of the same rounds."""
    one, several = (next(of["Catena"] for f, of in speeds.items() if f.streams == streams)
                    for streams in (1, figure.streams))
    row = {"what": str(figure), "wanted": f"<= {figure.most}"}
    row |= common.ratio([figure.streams * speed for speed in one], several)
    return row | {"reached": row["ratio"] <= figure.most}


def share_of(machines, step):
    """Of speeds, one a round."""
    if not all(machines):
        return lambda speeds: None
    return lambda speeds: statistics.median(
        speed * step.seconds(machine) / step.rows for speed, machine in zip(speeds, machines))


def measured_rows(args, model_of, figures, systems_of):
    """(facts of the model, the machine's limits at each round, the rows)."""
    with model_of(args.model) as path:
        model = common.facts(path)
        timed = [figure for figure in figures if not isinstance(figure, StepGrowth)]
        with systems_of(path, args.threads) as systems:
            speeds, machines = measure(timed, systems, args.rounds, args.tokens, args.threads)
    rows = [compared(figure, of, share_of(machines, figure.step(model, args.tokens)))
            for figure, of in speeds.items()]
    rows += [growth(figure, speeds) for figure in figures if isinstance(figure, StepGrowth)]
    return model, machines, rows


# --- output ---

COLUMNS = ("", "Catena tok/s", "llama.cpp tok/s", "ratio (min to max)", "wanted",
           "of the limit: Catena", "llama.cpp")


def cells(row):
    def number(key, form):
        value = row.get(key)
        return "-" if value is None else form.format(value)
    return (row["what"], number("catena_tokens_per_s", "{:.1f}"),
            number("llama_cpp_tokens_per_s", "{:.1f}"),
            "{ratio:.2f} ({ratio_min:.2f} to {ratio_max:.2f})".format(**row), row["wanted"],
            number("catena_share_of_limit", "{:.0%}"), number("llama_cpp_share_of_limit", "{:.0%}"))


def print_table(rows, markdown):
    lines = [COLUMNS, *map(cells, rows)]
    if markdown:
        lines.insert(1, ["---"] * len(COLUMNS))
        print("\n".join(f"| {' | '.join(line)} |" for line in lines))
        return
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths)).rstrip())


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")


def arguments(description, threads, tokens):
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path,
                        help="GGUF file (default: CATENA_SMOLLM2_GGUF; for Phi-3-mini's "
                             "shape a temporary one; a named one is written if it is missing)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=tokens,
                        help="new ones of each sequence where it decodes (default %(default)s)")
    parser.add_argument("--threads", type=int, default=threads,
                        help="of each process that computes (default %(default)s)")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there too")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    return parser.parse_args()


def main(description, model_of, figures, systems_of=one_process, threads=2, tokens=32):
    """description: the script's docstring; threads, tokens: of a run without such options."""
    args = arguments(description, threads, tokens)
    model, machines, rows = measured_rows(args, model_of, figures, systems_of)
    print_table(rows, args.markdown)
    if args.json:
        common.write_json(args.json, {
            "title": description.splitlines()[0], "processor": processor(),
            "threads": args.threads, "tokens": args.tokens, "model": model, "machines": machines,
            "rows": rows})
