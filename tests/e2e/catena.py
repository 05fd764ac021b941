"""What the end-to-end tests share: the command, the data it is run on, and how they compare.

CATENA               the command (build/release/bin/catena of this checkout)
CATENA_SHARED        the shared test data (../shared beside the checkout)
CATENA_SMOLLM2_GGUF  the default model
CI                   true: a test whose data is absent fails; otherwise it is skipped

Run one of the files with `python3 -m unittest discover -v -s tests/e2e -p NAME_test.py`.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = os.environ.get("CATENA", str(ROOT / "build/release/bin/catena"))
SHARED = pathlib.Path(os.environ.get("CATENA_SHARED", ROOT.parent / "shared"))
SMOLLM2 = os.environ.get("CATENA_SMOLLM2_GGUF", "")

F32 = ("--activations", "f32", "--kv-dtype", "f32")
TIMEOUT_S = 300  # of one command: a guard against a hang, not a measure of speed

GOLDEN_MODELS = ("llama-gqa-tied", "llama3-rope", "llama3-yarn", "mistral-window", "phi3-longrope",
                 "phi3-mini-shape", "phi3-window", "phi4-mini-shape", "qwen2-bias-tied",
                 "qwen3-qk-norm")


# Those of tests/golden.
OWN_GOLDEN_MODELS = ("llama-dynamic", "smollm3-nope", "granite-multipliers",
                     "gemma3-local-global", "gemma3-capped", "gemma2-alternating")
QUANTISED_MODELS = ("quantised/awq", "quantised/gptq-4-asym")


def commas(ids):
    return ",".join(map(str, ids))


def read_json(path):
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def read_json_lines(path):
    return parse_lines(pathlib.Path(path).read_text(encoding="utf-8"))


def parse_lines(text):
    # Only \n ends a line: a JSON string may hold the other separators of splitlines().
    return [json.loads(line) for line in text.split("\n") if line]


def steps_above(margins, least):
    """How many steps come before the first whose margin is under `least`."""
    return next((i for i, margin in enumerate(margins) if margin < least), len(margins))


class CatenaTest(unittest.TestCase):
    """A test case that runs the command. A test that needs data asks for its path."""

    maxDiff = 2000

    def shared(self, relative):
        """The path of shared test data, or the test ends here."""
        return self._present(SHARED / relative, "CATENA_SHARED")

    def golden(self, name):
        """The folder of a golden model, ours or shared."""
        if name in OWN_GOLDEN_MODELS + QUANTISED_MODELS:
            return str(pathlib.Path(__file__).resolve().parents[1] / "golden" / name)
        return self.shared(f"golden/{name}")

    def smollm2(self):
        """The path of the default model's GGUF file, or the test ends here."""
        return self._present(pathlib.Path(SMOLLM2 or "absent"), "CATENA_SMOLLM2_GGUF")

    def need(self, found, why):
        """Ends the test where it lacks something: under CI that is a failure."""
        if found:
            return
        if os.environ.get("CI") == "true":
            self.fail(why)
        self.skipTest(why)

    def _present(self, path, variable):
        self.need(path.exists(), f"the test data is absent: {path}; set {variable}")
        return str(path)

    def temp_dir(self):
        path = pathlib.Path(tempfile.mkdtemp(prefix="catena-e2e-"))
        self.addCleanup(shutil.rmtree, path)
        return path

    def run_bytes(self, *args, stdin=b"", **options):
        """The finished process, its output as bytes."""
        command = [COMMAND, *map(str, args)]
        defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": TIMEOUT_S}
        return subprocess.run(command, input=stdin, check=False, **{**defaults, **options})

    def text_of(self, *args, stdin=""):
        """stdout of a command that must succeed and have nothing to say on stderr."""
        done = self.run_bytes(*args, stdin=stdin.encode())
        shown = " ".join(map(str, args))[:300]
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""), shown)
        return done.stdout.decode()

    def lines_of(self, *args, stdin=""):
        """The JSON objects, one a line, that a command prints; anything else there fails."""
        text = self.text_of(*args, stdin=stdin)
        self.assertTrue(text.endswith("\n"), "the last line has no end")
        objects = parse_lines(text)
        self.assertEqual(len(objects), text.count("\n"), "an empty line among the JSON lines")
        return objects

    def object_of(self, *args):
        objects = self.lines_of(*args)
        self.assertEqual(len(objects), 1)
        return objects[0]

    def tokenize(self, model, requests):
        """The answers of `catena tokenize`, one process for all requests."""
        stdin = "".join(json.dumps(r) + "\n" for r in requests)
        answers = self.lines_of("tokenize", "-m", model, stdin=stdin)
        self.assertEqual(len(answers), len(requests))
        return answers
