"""`catena quantise`: what it writes is read by gguf-py, llama.cpp's own reader, and by ourselves.

GGUF in Python: the package gguf of tests/requirements.txt."""

import json
import pathlib
import resource
import signal
import subprocess
import tempfile
import threading
import unittest

try:
    import gguf
    import numpy as np
except ImportError:
    gguf = None

from catena import COMMAND, F32, read_json
from errors_test import ErrorCase

# What a file says of itself, not of the model.
OWN_KEYS = ("general.file_type", "general.quantization_version", "general.alignment")
# By format: llama.cpp's number of it, the types of matrices with rows of 1,536 values (whole blocks
# of 256), of 576 (not), and of the embedding, which is the head too (576).
FORMATS = {"q8_0": (7, "Q8_0", "Q8_0", "Q8_0"),
           "q4_k": (14, "Q4_K", "Q5_0", "Q8_0"),
           "q6_k": (18, "Q6_K", "Q8_0", "Q8_0")}
# Of a matrix, the root of the mean square of the error over that of the values.
LARGEST_ERROR = {"Q8_0": 0.008, "Q6_K": 0.025, "Q5_0": 0.06, "Q4_K": 0.1}
PERPLEXITY_TOKENS = 1024


def folder_files(path):
    return sorted(p.name for p in pathlib.Path(path).iterdir())


class QuantiseTest(ErrorCase):
    """Of the default model, quantised once a format."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="catena-e2e-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder, cls.files, cls.opened = pathlib.Path(folder.name), {}, {}

    def quantised(self, name):
        """The path of the default model in this format, and what the command said of it."""
        if name not in self.files:
            out = self.folder / f"{name}.gguf"
            done = self.run_bytes("quantise", self.smollm2(), out, "--format", name, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stderr.decode(), r"\Acatena: warning: [^\n]*quantised[^\n]*\n\Z")
            self.files[name] = (out, json.loads(done.stdout))
        return self.files[name]

    def readers(self, name):
        """gguf-py's, of the default model and of what it became: kept, since to open is slow."""
        self.need(gguf is not None, "the Python package gguf is absent; see tests/requirements.txt")
        paths = (self.smollm2(), self.quantised(name)[0])
        for path in paths:
            if path not in self.opened:
                self.opened[path] = gguf.GGUFReader(path)
        return tuple(self.opened[path] for path in paths)

    def test_metadata_is_the_source_s_byte_for_byte(self):
        for name, (file_type, *_) in FORMATS.items():
            before, after = self.readers(name)
            want = {k: f for k, f in before.fields.items() if k not in OWN_KEYS}
            got = {k: f for k, f in after.fields.items() if k not in OWN_KEYS}
            self.assertEqual([k for k in want if not k.startswith("GGUF.")],
                             [k for k in got if not k.startswith("GGUF.")])
            for key, field in want.items():
                if key.startswith("GGUF."):
                    continue
                self.assertEqual(field.types, got[key].types, key)
                self.assertEqual(b"".join(p.tobytes() for p in field.parts),
                                 b"".join(p.tobytes() for p in got[key].parts), key)
            self.assertEqual(after.get_field("general.file_type").contents(), file_type)
            self.assertEqual(after.get_field("general.quantization_version").contents(), 2)

    def test_tensors_have_the_types_that_llama_cpp_gives_them(self):
        for name, (_, whole, ragged, logits) in FORMATS.items():
            before, after = self.readers(name)
            self.assertEqual(sorted(t.name for t in before.tensors),
                             sorted(t.name for t in after.tensors))
            shapes = {t.name: list(t.shape) for t in before.tensors}
            for t in after.tensors:
                want = (logits if t.name == "token_embd.weight" else
                        "F32" if len(t.shape) == 1 else
                        whole if t.shape[0] % 256 == 0 else ragged)
                self.assertEqual(t.tensor_type.name, want, t.name)
                self.assertEqual(list(t.shape), shapes[t.name], t.name)

    def test_values_are_the_source_s_within_the_format_s_error(self):
        for name in FORMATS:
            before, after = self.readers(name)
            old = {t.name: t for t in before.tensors}
            for t in after.tensors:
                if t.name.startswith("blk.") and not t.name.startswith("blk.17."):
                    continue
                want = gguf.dequantize(old[t.name].data, old[t.name].tensor_type)
                got = gguf.dequantize(t.data, t.tensor_type)
                if t.tensor_type.name == "F32":
                    self.assertTrue(np.array_equal(got, want), t.name)
                    continue
                error = np.sqrt(np.mean((got - want) ** 2) / np.mean(want ** 2))
                self.assertLess(error, LARGEST_ERROR[t.tensor_type.name], f"{name} {t.name}")

    def test_the_summary_counts_what_was_written(self):
        before = pathlib.Path(self.smollm2()).stat().st_size
        for name in FORMATS:
            path, said = self.quantised(name)
            self.assertEqual(said["tensors"], 272)
            self.assertEqual(said["tensors"], sum(t["tensors"] for t in said["types"].values()))
            self.assertEqual(said["fallen_back"] > 0, name != "q8_0")
            for size, file_size in ((said["bytes"], path.stat().st_size),
                                    (said["bytes_before"], before)):
                self.assertTrue(0 < file_size - size < 4 << 20, name)  # the vocabulary
        self.assertAlmostEqual(self.quantised("q8_0")[1]["bits_per_weight"], 8.5, delta=0.02)

    def test_a_float_file_of_a_float_file_is_the_same_bits(self):
        folder = self.temp_dir()
        self.text_of_quantise(self.shared("kquants/llama-q4_k_m.gguf"), folder / "f32.gguf", "f32")
        self.text_of_quantise(folder / "f32.gguf", folder / "again.gguf", "f32")
        self.assertEqual((folder / "f32.gguf").read_bytes(), (folder / "again.gguf").read_bytes())

    def text_of_quantise(self, model, out, name):
        done = self.run_bytes("quantise", model, out, "--format", name)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def test_texts_come_out_of_every_file(self):
        for name in FORMATS:
            path, _ = self.quantised(name)
            text = self.text_of("generate", "-m", path, "--prompt", "The capital of France is",
                                "--max-tokens", 12)
            self.assertIn("Paris", text, name)

    def test_int8_perplexity_is_within_half_a_percent_of_float32(self):
        tokens = read_json(self.shared("smollm2/perplexity_gpl3.json"))["tokens"]
        path = self.temp_dir() / "tokens.json"
        path.write_text(json.dumps({"tokens": tokens[:PERPLEXITY_TOKENS]}))
        for name in FORMATS:
            model = self.quantised(name)[0]
            exact = self.object_of("perplexity", "-m", model, "--tokens", path, *F32)
            int8 = self.object_of("perplexity", "-m", model, "--tokens", path)
            self.assertAlmostEqual(int8["perplexity"] / exact["perplexity"], 1, delta=0.005,
                                   msg=name)


class RefusalsTest(ErrorCase):

    def setUp(self):
        self.model = self.shared("kquants/llama-q6_k.gguf")
        self.folder = self.temp_dir()
        self.out = self.folder / "out.gguf"

    def quantise(self, *options, model=None, out=None):
        return ("quantise", model or self.model, out or self.out, "--format", "q8_0", *options)

    def test_a_file_that_is_there_makes_way_for_force_only(self):
        self.out.write_text("mine")
        self.assert_fails(self.quantise(), self.out, "--force")
        self.assertEqual(self.out.read_text(), "mine")
        done = self.run_bytes(*self.quantise("--force"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.out.read_bytes()[:4], b"GGUF")
        self.assertEqual(folder_files(self.folder), ["out.gguf"])

    def test_the_model_itself_and_what_is_no_file(self):
        model = self.folder / "model.gguf"
        model.write_bytes(pathlib.Path(self.model).read_bytes())
        self.assert_fails(self.quantise("--force", model=model, out=model), "the model itself")
        self.assert_fails(self.quantise("--force", out=self.folder), "regular file")
        self.assert_fails(self.quantise("--force", out="/dev/null"), "regular file")
        self.assert_fails(self.quantise(out=self.folder / "absent" / "x"), "folder")
        self.assertEqual(folder_files(self.folder), ["model.gguf"])

    def test_no_file_of_the_model_makes_way(self):
        folder = self.copy_of("stories260k-phi3")
        (folder / "elsewhere").symlink_to("model.safetensors")
        for name in ("model.safetensors", "config.json", "tokenizer.json", "elsewhere"):
            self.assert_fails(self.quantise("--force", model=folder, out=folder / name), name,
                              "the model itself")
        first, last = (self.folder / f"m-0000{part}-of-00003.gguf" for part in (1, 3))
        for path in (first, last):
            path.write_bytes(pathlib.Path(self.model).read_bytes())
        self.assert_fails(self.quantise("--force", model=first, out=last), last, "the model itself")
        other = folder / "q8_0.gguf"
        other.write_text("an earlier one")
        self.assertEqual(
            self.run_bytes(*self.quantise("--force", model=folder, out=other)).returncode, 0)

    def test_a_format_that_there_is_not_and_a_model_that_is_none(self):
        self.assert_fails(("quantise", self.model, self.out, "--format", "q9"), "q4_k")
        self.assert_fails(("quantise", self.model, self.out), "--format")
        self.assert_fails(self.quantise(model=self.folder / "absent"), "absent")
        cut = self.folder / "cut.gguf"
        cut.write_bytes(pathlib.Path(self.model).read_bytes()[:-1000])
        self.assert_fails(self.quantise(model=cut), cut)
        self.assertEqual(folder_files(self.folder), ["cut.gguf"])

    def test_a_full_disk_leaves_nothing(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        done = self.run_bytes(*self.quantise(), preexec_fn=limit)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(str(self.out), done.stderr.decode())
        self.assertEqual(folder_files(self.folder), [])

    def signalled(self, *signals):
        """The exit status of a process that gets them while it writes, all at once."""
        command = (COMMAND, *map(str, self.quantise("--threads", 1, model=self.smollm2())))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            guard = threading.Timer(60, process.kill)
            guard.start()
            while process.poll() is None and not folder_files(self.folder):
                pass
            for number in (signal.SIGSTOP, *signals, signal.SIGCONT):
                process.send_signal(number)
            process.communicate()
            guard.cancel()
        self.assertEqual(folder_files(self.folder), [])
        return process.returncode

    def test_an_interrupt_leaves_nothing(self):
        self.assertEqual(self.signalled(signal.SIGINT), 130)

    def test_what_ends_it_at_once_leaves_nothing_either(self):
        self.assertEqual(self.signalled(signal.SIGHUP), -signal.SIGHUP)
        two = (signal.SIGINT, signal.SIGTERM)
        self.assertIn(self.signalled(*two), [-number for number in two])


if __name__ == "__main__":
    unittest.main()
