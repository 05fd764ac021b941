#!/usr/bin/env python3
"""Writes sampler_cases.json: logits, parameters and the distribution that must come out.

    python3 tests/model/make_sampler_cases.py > tests/model/sampler_cases.json

Independent of the C++ sampler: the processors of Hugging Face transformers
(src/transformers/generation/logits_process.py) and, for bias and additive penalties, of vLLM,
written out again over plain lists, filters as masks of minus infinity over the whole vocabulary
with a softmax between them. Logits have no ties and no cut is near an edge: asserted here.
"""

import json
import math
import random

INF = float("inf")
MARGIN = 1e-5  # how far every threshold must be from flipping a token


def softmax(scores):
    top = max(scores)
    weights = [math.exp(s - top) if s > -INF else 0.0 for s in scores]
    total = math.fsum(weights)
    return [w / total for w in weights]


def logit_bias(scores, bias):
    return [s + bias.get(i, 0.0) for i, s in enumerate(scores)]


def penalties(scores, prompt, output, repetition, presence, frequency):
    seen = set(prompt) | set(output)
    scores = [
        s if i not in seen else (s * repetition if s < 0 else s / repetition)
        for i, s in enumerate(scores)
    ]
    scores = [s - frequency * output.count(i) for i, s in enumerate(scores)]
    return [s - presence * (i in output) for i, s in enumerate(scores)]


def mask(scores, ids):
    return [-INF if i in ids else s for i, s in enumerate(scores)]


def top_k(scores, k):
    kth = sorted(scores, reverse=True)[min(k, len(scores)) - 1]
    return [s if s >= kth else -INF for s in scores]


def top_p(scores, p):
    probs = softmax(scores)
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    kept, mass = list(scores), 0.0
    for i in order[:-1]:
        mass += probs[i]
        assert scores[i] == -INF or abs(mass - (1 - p)) > MARGIN
        if mass <= 1 - p:
            kept[i] = -INF
    return kept


def min_p(scores, p):
    probs = softmax(scores)
    limit = p * max(probs)
    assert all(abs(q - limit) > MARGIN * limit for q in probs)
    return [s if q >= limit else -INF for s, q in zip(scores, probs)]


def typical_p(scores, mass):
    probs = softmax(scores)
    logs = [math.log(q) if q > 0 else -INF for q in probs]
    entropy = -math.fsum(q * l for q, l in zip(probs, logs) if q > 0)
    shifted = [abs(-l - entropy) for l in logs]
    order = sorted(range(len(scores)), key=lambda i: shifted[i])
    last, reached = 0, 0.0
    for i in order:
        reached += probs[i]
        assert abs(reached - mass) > MARGIN
        if reached < mass:
            last += 1
    limit = shifted[order[min(last, len(order) - 1)]]
    assert sum(x == limit for x in shifted) == 1
    return [s if x <= limit else -INF for s, x in zip(scores, shifted)]


def distribution(case):
    p = case["params"]
    scores = logit_bias(case["logits"], {int(i): b for i, b in p.get("logit_bias", {}).items()})
    scores = penalties(
        scores,
        case["prompt"],
        case["output"],
        p.get("repetition_penalty", 1.0),
        p.get("presence_penalty", 0.0),
        p.get("frequency_penalty", 0.0),
    )
    if len(case["output"]) < p.get("min_tokens", 0):
        eos = [] if p.get("ignore_eos") else p.get("eos_token_ids", [])
        scores = mask(scores, set(eos) | set(p.get("stop_token_ids", [])))
    if p.get("temperature", 0.0) == 0.0:
        return [[scores.index(max(scores)), 1.0]]
    scores = [s / p["temperature"] for s in scores]
    for step in (top_k, top_p, min_p, typical_p):
        if step.__name__ in p:
            scores = step(scores, p[step.__name__])
    return [[i, float(f"{q:.12g}")] for i, q in enumerate(softmax(scores)) if q > 0]


# One set of parameters a line; each is drawn several times with other logits and ids.
PARAMS = [
    {"temperature": 1.0},
    {"temperature": 0.6},
    {"temperature": 2.5},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_k": 7},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 1.0, "top_p": 0.05},
    {"temperature": 1.5, "top_p": 0.99},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 1.3, "min_p": 0.7},
    {"temperature": 1.0, "typical_p": 0.9},
    {"temperature": 0.9, "typical_p": 0.3},
    {"temperature": 1.0, "top_k": 12, "top_p": 0.8},
    {"temperature": 1.0, "top_p": 0.9, "min_p": 0.2},
    {"temperature": 1.0, "top_k": 20, "min_p": 0.05, "typical_p": 0.8},
    {"temperature": 1.1, "top_k": 25, "top_p": 0.95, "min_p": 0.02, "typical_p": 0.9},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 1.0, "repetition_penalty": 0.7},
    {"temperature": 1.0, "presence_penalty": 1.5},
    {"temperature": 1.0, "frequency_penalty": 0.75},
    {"temperature": 1.0, "frequency_penalty": -0.5, "presence_penalty": -1.0},
    {"temperature": 1.0, "logit_bias": {"3": 5.0, "8": -100.0, "11": -1.5}},
    {"temperature": 1.0, "logit_bias": {"2": 4.0}, "repetition_penalty": 1.5, "top_k": 9},
    {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1, "presence_penalty": 0.5,
     "frequency_penalty": 0.25, "logit_bias": {"1": 1.0}},
    {"temperature": 1.0, "min_tokens": 40, "eos_token_ids": [0, 5], "stop_token_ids": [9]},
    {"temperature": 1.0, "min_tokens": 1, "eos_token_ids": [0, 5], "stop_token_ids": [9]},
    {"temperature": 1.0, "min_tokens": 40, "ignore_eos": True, "eos_token_ids": [0, 5],
     "stop_token_ids": [9]},
    {"temperature": 1.0, "min_tokens": 40, "eos_token_ids": [4], "logit_bias": {"4": 100.0},
     "top_k": 5},
    {"temperature": 0.0, "repetition_penalty": 2.0},
    {"temperature": 0.0, "frequency_penalty": 2.0, "logit_bias": {"6": 3.0}},
    {"temperature": 0.0, "min_tokens": 40, "eos_token_ids": [1, 2, 3]},
]


def main():
    rng = random.Random(20240607)
    cases = []
    for params in PARAMS:
        for vocab_size in (13, 70):
            for _ in range(100):  # until no cut is near an edge
                # A grid of 2^-10 is exact in float32 and keeps the file small.
                grid = rng.sample(range(-8 * 1024, 8 * 1024), vocab_size)
                case = {
                    "params": dict(params, max_tokens=50),
                    "logits": [g / 1024 for g in grid],
                    "prompt": [rng.randrange(vocab_size) for _ in range(rng.randrange(1, 9))],
                    "output": [rng.randrange(vocab_size) for _ in range(rng.randrange(1, 9))],
                }
                try:
                    case["expected"] = distribution(case)
                except AssertionError:
                    continue
                cases.append(case)
                break
            else:
                raise SystemExit(f"no clear case for {params}")
    print("[" + ",\n".join(json.dumps(c) for c in cases) + "]")


if __name__ == "__main__":
    main()
