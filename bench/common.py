"""What the scripts here share: Catena's speed in one process and as a chain, and how runs compare.

CATENA  the command (build/release/bin/catena of this checkout)

Each system has prefill(tokens) and decode(streams, tokens, depth), which run it once and return
tokens a second.
"""

import json
import os
import pathlib
import random
import signal
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
CATENA = os.environ.get("CATENA", str(ROOT / "build/release/bin/catena"))
SHORT_PROMPT = 8  # tokens before those that are timed, where no depth is asked


def output(command, **options):
    """stdout of a command that must succeed."""
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True, **options)
    return done.stdout.decode()


def facts(model, *options):
    """A model's shape and sizes."""
    return json.loads(output([CATENA, "inspect", "--json", "--model", model, *options]))


def generate(options, prompt_tokens, streams, tokens):
    """The times of `streams` sequences of one prompt, `tokens` new ones each. The prompt's ids are
    drawn from those that every vocabulary has."""
    draw = random.Random(prompt_tokens)
    prompt = ",".join(str(draw.randrange(32, 500)) for _ in range(prompt_tokens))
    lines = output([CATENA, "generate", *options, "--prompt-tokens", prompt, "--n", streams,
                    "--max-tokens", tokens, "--ignore-eos", "--json"]).splitlines()
    sequences = [json.loads(line) for line in lines]
    assert [len(s["token_ids"]) for s in sequences] == [tokens] * streams
    return [s["stats"] for s in sequences]


class OneProcess:
    """`catena bench speed` of a model; all streams take their steps together. Like llama.cpp's
    programs it warms up before it measures."""

    def __init__(self, options):
        self.options = options

    def prefill(self, tokens):
        """Until the first new token, which needs the logits of the last row alone."""
        return self._speed(tokens, 1, 2)["prefill_tokens_per_s"]

    def decode(self, streams, tokens, depth=SHORT_PROMPT):
        return self._speed(depth, streams, tokens)["decode_tokens_per_s"]

    def _speed(self, prompt_tokens, streams, tokens):
        return json.loads(output(
            [CATENA, "bench", "speed", *self.options, "--prompt-tokens", prompt_tokens,
             "--streams", streams, "--tokens", tokens, "--json"]))


class Chain:
    """`catena up` with two shards, or more."""

    def __init__(self, options, stages=2):
        self.process = subprocess.Popen(
            [CATENA, "up", "--json", "--stages", str(stages), "--log-level", "error", *options],
            stdout=subprocess.PIPE)
        self.options = ["--gateway", json.loads(self.process.stdout.readline())["gateway"]]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.process.stdout.close()

    def decode(self, streams, tokens):
        """Once all decode. The first of several streams do while the last ones' prompts are
        computed, so the time of their first few steps is taken from the whole."""
        few = 1 if streams == 1 else 4
        seconds = self._decode_s(streams, tokens)
        if few > 1:
            seconds -= self._decode_s(streams, few)
        return streams * (tokens - few) / seconds

    def _decode_s(self, streams, tokens):
        """From the first token of a stream to its last, of the slowest stream."""
        stats = generate(self.options, SHORT_PROMPT, streams, tokens)
        return max(s["decode_s"] for s in stats)


def ratio(ours, others):
    """Of figures that were measured in turns: the median of the ratios, and how far they go."""
    ratios = [a / b for a, b in zip(ours, others)]
    return {"ratio": statistics.median(ratios), "ratio_min": min(ratios),
            "ratio_max": max(ratios)}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
