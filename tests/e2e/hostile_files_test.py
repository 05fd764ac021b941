"""Whatever lies where a file is read ends in a line that names it, at once and without memory."""

import os
import resource
import subprocess
import unittest

from catena import COMMAND
from errors_test import ErrorCase

SECONDS = 20  # of processor time; what hangs is killed, and a machine under load is no failure
MEMORY = 600 << 20  # of address space, of which libraries and a thread's stacks take 200 MiB
SPARSE = 20 << 30

FOLDER_FILES = ("config.json", "generation_config.json", "tokenizer_config.json",
                "special_tokens_map.json", "added_tokens.json", "tokenizer.json",
                "chat_template.jinja", "model.safetensors")


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + 2 * SPARSE, MEMORY + 2 * SPARSE))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


class HostileFilesTest(ErrorCase):

    def assert_ends(self, args, name):
        return self.assert_fails(args, name, preexec_fn=limit, timeout=60)

    def each_file(self):
        """(name, path, arguments that read it) of every file of a folder, and of other kinds."""
        for name in FOLDER_FILES:
            folder = self.copy_of("stories260k-phi3")
            path = folder / name
            path.unlink(missing_ok=True)
            yield name, path, ("generate", "-m", folder, "-p", "x", "--max-tokens", 1)
        folder = self.copy_of("stories260k-phi3")
        (folder / "model.safetensors").unlink()
        path = folder / "model.safetensors.index.json"
        yield path.name, path, ("generate", "-m", folder, "--prompt-tokens", 1)
        path = self.temp_dir() / "m.gguf"
        yield path.name, path, ("generate", "-m", path, "--prompt-tokens", 1)
        path = self.temp_dir() / "tokens.json"
        yield path.name, path, ("perplexity", "-m", self.shared("stories260k-phi3"), "--tokens",
                                path)

    def test_a_pipe_that_nobody_writes_to(self):
        for name, path, args in self.each_file():
            os.mkfifo(path)
            self.assert_ends(args, name)

    def test_a_folder(self):
        for name, path, args in self.each_file():
            path.mkdir()
            self.assert_ends(args, name)

    def test_a_device_without_end(self):
        for name, path, args in self.each_file():
            path.symlink_to("/dev/zero")
            self.assert_ends(args, name)

    def test_a_sparse_file_of_20_gigabytes(self):
        for name, path, args in self.each_file():
            with open(path, "wb") as file:
                file.truncate(SPARSE)
            self.assert_ends(args, name)

    def test_json_that_nests(self):
        for name, path, args in self.each_file():
            if name.endswith(".json"):
                path.write_text("[" * 900_000)
                self.assert_ends(args, name)
                path.write_text('{"a":' * 150_000)
                self.assert_ends(args, name)

    def test_json_of_many_small_values(self):
        for name, path, args in self.each_file():
            if not name.endswith(".json"):
                continue
            for item in ("[],", "{},", "0,", '"",'):
                for size in (1_000_000, 60_000_000):
                    text = item * (size // len(item))
                    path.write_text("[" + text + "0]")
                    self.assert_ends(args, name)

    def test_stdin_without_end(self):
        model = self.shared("stories260k-phi3")
        for args in (("generate", "-m", model, "-p", "-"), ("tokenize", "-m", model),
                     ("look", "-m", model, "-")):
            with open("/dev/zero", "rb") as zero:
                done = subprocess.run([COMMAND, *args], stdin=zero, capture_output=True, timeout=60,
                                      check=False, preexec_fn=limit)
            self.assertGreater(done.returncode, 0)
            self.assertIn(b"the most that is read", done.stderr)


if __name__ == "__main__":
    unittest.main()
