#!/usr/bin/env python3
"""Holds chat templates against jinja2 over many lists of messages.

    python3 -m venv V && V/bin/pip install jinja2
    V/bin/python tests/model/chat_oracle.py --tool build/release/bin/tokenizer_tool [FILE ...]

The texts are those that have names in model/chat/chat_template.cc, those of chat_templates.json
beside this, and each file given (a tokenizer_config.json or plain Jinja). Jinja is set up as
transformers does it. What jinja2 refuses must be refused. Exit status 0: no
difference.
"""

import argparse
import ast
import functools
import itertools
import json
import pathlib
import re
import subprocess
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

CONSTRUCTS = pathlib.Path(__file__).with_name("chat_templates.json")
CONTENTS = ["Hi", "", " Hi ", "\n\nx\t", "\u3000\u00a0y\u2028\x1c", "a <|end|> b", "\u200bz\u200b",
            "{{ 1 }}", "你好 🦙"]
ROLES = ["system", "user", "assistant", "tool", "", "System"]
BOS, EOS = "<bos>", "<eos>"


def message_lists():
    yield []
    for role, content in itertools.product(ROLES, CONTENTS):
        yield [{"role": role, "content": content}]
    for n in (2, 3):
        for roles in itertools.product(ROLES[:4], repeat=n):
            for shift in range(3):
                yield [{"role": role, "content": CONTENTS[(i * 2 + shift * 3) % len(CONTENTS)]}
                       for i, role in enumerate(roles)]
    for first in ("user", "system"):
        yield [{"role": first, "content": "go"}] + [
            {"role": ("assistant", "user")[i % 2], "content": CONTENTS[i % len(CONTENTS)]}
            for i in range(9)]


class GenerationTag(jinja2.ext.Extension):
    """transformers' {% generation %}, whose body stands for itself."""
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def refuse(message):
    raise jinja2.TemplateError(message)


class Environment:
    """jinja2 as transformers sets it up."""

    def __init__(self):
        self.jinja = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True,
            extensions=[GenerationTag, jinja2.ext.loopcontrols])
        self.jinja.filters["tojson"] = lambda value, indent=None: json.dumps(
            value, ensure_ascii=False, indent=indent)
        self.jinja.globals["raise_exception"] = refuse

    @functools.lru_cache
    def compile(self, text):
        return self.jinja.from_string(text)

    def render(self, text, messages, generate):
        """None where jinja2 refuses."""
        try:
            return self.compile(text).render(
                messages=messages, add_generation_prompt=generate, bos_token=BOS, eos_token=EOS,
                tools=None, documents=None)
        except (jinja2.TemplateError, TypeError, ValueError, ZeroDivisionError):
            return None


def named_texts():
    source = pathlib.Path(__file__).resolve().parents[2] / "model/chat/chat_template.cc"
    literal = r'"(?:[^"\\]|\\.)*"'
    rows = re.findall(rf'\{{"[\w.-]+",\s*((?:{literal}\s*)+)\}}', source.read_text())
    # Adjacent string literals, which Python joins as C++ does.
    texts = [ast.literal_eval(f"({row})") for row in rows]
    assert len(texts) >= 9, "the texts moved"
    return texts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--tool", required=True)
    args = parser.parse_args()
    texts = named_texts() + json.loads(CONSTRUCTS.read_text())
    for path in args.files:
        text = open(path).read()
        texts.append(json.loads(text)["chat_template"] if path.endswith(".json") else text)
    environment = Environment()
    requests, expected = [], []
    for text, messages, generate in itertools.product(texts, message_lists(), (False, True)):
        requests.append({"template": text, "bos": BOS, "eos": EOS, "messages": messages,
                         "add_generation_prompt": generate})
        expected.append(environment.render(text, messages, generate))
    lines = "".join(json.dumps(r) + "\n" for r in requests)
    done = subprocess.run([args.tool, "--chat"], input=lines.encode(), capture_output=True,
                          check=True)
    answers = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    assert len(answers) == len(requests)
    bad, shown = 0, set()
    for request, want, answer in zip(requests, expected, answers):
        if answer.get("rendered") != want or (want is None) != ("error" in answer):
            bad += 1
            if request["template"] not in shown and len(shown) < 10:
                shown.add(request["template"])
                print(f"DIFFERENT {request}\n  jinja2 {want!r}\n  ours   {answer}")
    print(f"{len(requests)} renderings of {len(texts)} templates, {bad} different")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
