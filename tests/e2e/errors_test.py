"""What goes wrong ends in one line on stderr that says what to do, and in a status above 0."""

import contextlib
import json
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import threading
import unittest

from catena import COMMAND, TIMEOUT_S, CatenaTest

# Options after `generate -m stories260k-phi3 --prompt-tokens 1,2`, and what the line must name.
BAD_OPTIONS = (
    (("--bogus",), "--bogus"),
    (("extra",), "extra"),
    (("--max-tokens", "abc"), "--max-tokens"),
    (("--max-tokens", "0"), "--max-tokens"),
    (("--max-tokens",), "--max-tokens"),
    (("--temperature", "-1"), "--temperature"),
    (("--temperature", "nan"), "--temperature"),
    (("--top-p", "2"), "--top-p"),
    (("--min-p", "-1"), "--min-p"),
    (("--typical-p", "0"), "--typical-p"),
    (("--repetition-penalty", "0"), "--repetition-penalty"),
    (("--n", "0"), "--n"),
    (("--speculate", "99"), "--speculate"),
    (("--speculate", "-1"), "--speculate"),
    (("--n", "1000000000"), "--n"),
    (("--logit-bias", "5"), "--logit-bias"),
    (("--logit-bias", "99999=1"), "99999"),
    (("--stop", ""), "--stop"),
    (("--stop-token-ids", "512"), "512"),
    (("--min-tokens", "60"), "--min-tokens"),
    (("--threads", "0"), "--threads"),
    (("--batch", "0"), "--batch"),
    (("--activations", "f16"), "int8"),
    (("--cpu-target", "mmx"), "avx2"),
    (("--kv-dtype", "q8"), "f16"),
    (("--backend", "nonsense"), "auto"),
    (("--device", "-1"), "--device"),
    (("--stages", "0"), "1 to 5"),
    (("--stages", "6"), "1 to 5"),
    (("--layers", "0-3"), "--layers"),
    (("--layers", "1-5"), "--layers"),
    (("--layers", "0-2,3-5"), "--layers"),
    (("--layers", "0-3,2-5"), "--layers"),
    (("--layers", "0-0,0-5"), "--layers"),
    (("--layers", "0-6"), "--layers"),
    (("--layers", "0-x"), "--layers"),
    (("--layers", "0-99999999999999999999"), "--layers"),
    (("--layers", "0-5", "--stages", "1"), "--stages"),
    (("--weights", "nonsense"), "random:SEED"),
    (("--weights", "random:x"), "random:SEED"),
    (("--weights", "random:1", "--weight-format", "q2"), "q8_0"),
    (("--weights", "random:1", "--weight-format", "q8_0"), "use bf16"),  # rows of 172
    (("--weight-format", "f16"), "--weights"),
    (("--prompt", "x"), "--prompt"),
    (("--chat",), "--prompt"),
)

BAD_TOKENIZE_LINES = ("nonsense", "", "{}", "[]", '{"text": 5}', '{"ids": 5}', '{"ids": [1.5]}',
                      '{"ids": [9223372036854775808]}', '{"bytes_b64": "*"}', '{"messages": [1]}',
                      '{"text": "a"} x', "[" * 100000)

# What must not show whatever happens.
CRASH_WORDS = ("terminate", "what()", "CHECK", "Sanitizer", "Segmentation", "core dumped", ".cc:")


END_S = 20  # when what should have ended is killed: 8000 tokens take longer


class ErrorCase(CatenaTest):

    def assert_fails(self, args, *names, stdin=b"", stdout=subprocess.PIPE, **options):
        """Fails as the contract says; the line holds each of `names`. Gives the line."""
        done = self.run_bytes(*args, stdin=stdin, stdout=stdout, **options)
        shown = " ".join(map(str, args))[:200]
        line = done.stderr.decode()
        self.assertGreater(done.returncode, 0, f"{shown}: {line}")  # below 0: a signal ended it
        self.assertLess(done.returncode, 126, shown)
        self.assertEqual(done.stdout or b"", b"", shown)
        self.assertRegex(line, r"\Acatena: [^\n]{10,}\n\Z", shown)
        for name in names:
            self.assertIn(str(name), line, shown)
        for word in CRASH_WORDS:
            self.assertNotIn(word, line, shown)
        return line

    def copy_of(self, relative):
        """A writable copy of a model folder of the shared data."""
        folder = self.temp_dir() / "model"
        shutil.copytree(self.shared(relative), folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        return folder


class OptionsTest(ErrorCase):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")
        self.generate = ("generate", "-m", self.model)

    def test_no_command_or_an_unknown_one(self):
        self.assert_fails((), "--help")
        self.assert_fails(("bench",), "bench", "--help")
        self.assert_fails(("generate", "--prompt", "x"), "--model", "--help")

    def test_unknown_command_is_named(self):
        self.assert_fails(("nonsense",), "nonsense", "--help")

    def test_bad_options(self):
        for options, name in BAD_OPTIONS:
            self.assert_fails((*self.generate, "--prompt-tokens", "1,2", *options), name)

    def test_too_many_logprobs_name_the_option_that_was_given(self):
        self.assert_fails((*self.generate, "--prompt-tokens", "1", "--logprobs", "100"),
                          "--logprobs")

    def test_system_message_without_chat(self):
        self.assert_fails((*self.generate, "--prompt", "x", "--system", "y"), "--chat")

    def test_chat_where_the_model_has_no_known_template(self):
        self.assert_fails((*self.generate, "--prompt", "x", "--chat"), "--chat-template")
        self.assert_fails(("chat", "-m", self.model), "--chat-template", stdin=b"Hi\n")
        self.assert_fails((*self.generate, "--prompt", "x", "--chat", "--chat-template", "no"),
                          "chatml")

    def test_bad_stage_counts_of_plan(self):
        for stages in ("0", "6", "x"):
            self.assert_fails(("plan", self.model, "--stages", stages), "--stages")
        self.assert_fails(("plan", self.model), "--stages")

    def test_bench_that_passes_the_context_names_the_option(self):
        self.assert_fails(("bench", "kv-cache", "-m", self.model, "--tokens", "600"), "--tokens")
        self.assert_fails(("bench", "speed", "-m", self.model, "--tokens", "600"), "--tokens")

    def test_bad_thread_counts_of_bench_machine(self):
        for threads in ("0", "1025", "x"):
            self.assert_fails(("bench", "machine", "--threads", threads), "--threads")

    def test_bench_machine_without_memory_says_what_to_do(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        self.assert_fails(("bench", "machine", "--threads", "1"), "memory", "fewer threads",
                          preexec_fn=limit)


class PromptTest(ErrorCase):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")

    def test_no_prompt(self):
        self.assert_fails(("generate", "-m", self.model), "--prompt")
        self.assert_fails(("logits", "-m", self.model), "--prompt-tokens")
        self.assert_fails(("look", "-m", self.model), "--prompt-tokens")
        self.assert_fails(("perplexity", "-m", self.model), "--tokens")

    def test_empty_text(self):
        self.assert_fails(("generate", "-m", self.model, "--prompt", ""), "prompt")
        self.assert_fails(("generate", "-m", self.model, "--prompt", "-"), "prompt")
        self.assert_fails(("logits", "-m", self.model, "-p", ""), "--prompt-tokens")
        self.assert_fails(("look", "-m", self.model, ""), "--prompt-tokens")

    def test_empty_list_of_ids_is_not_the_id_0(self):
        for command in ("generate", "logits", "look"):
            self.assert_fails((command, "-m", self.model, "--prompt-tokens", ""), "token")

    def test_prompt_over_the_context(self):
        ids = ",".join(["1"] * 513)
        for command in ("generate", "logits", "look"):
            self.assert_fails((command, "-m", self.model, "--prompt-tokens", ids), 513, 512,
                              "shorten")

    def test_token_ids_outside_the_vocabulary(self):
        for token in ("512", "-1", "2147483647"):
            for command in ("generate", "logits", "look"):
                self.assert_fails((command, "-m", self.model, f"--prompt-tokens=1,{token}"), token,
                                  "vocabulary")

    def test_ids_that_are_no_numbers(self):
        for token in ("x", "1.5", "99999999999999999999"):
            self.assert_fails(("generate", "-m", self.model, "--prompt-tokens", f"1,{token}"),
                              "--prompt-tokens")

    def test_text_for_a_model_without_tokenizer(self):
        model = self.shared("golden/phi3-window")
        for args in (("generate", "-p", "x"), ("look", "x"), ("logits", "-p", "x"), ("tokenize",)):
            self.assert_fails((args[0], "-m", model, *args[1:]), "tokenizer.json")

    def test_bad_files_of_tokens(self):
        path = self.temp_dir() / "tokens.json"
        for text in ("", "[1, 2]", '{"tokens": 5}', '{"tokens": [1]}', '{"tokens": [1, "2"]}',
                     '{"tokens": [1, 512]}', '{"tokens": [1, 1e99]}', '{"tokens": [1,'):
            path.write_text(text)
            self.assert_fails(("perplexity", "-m", self.model, "--tokens", path))
        self.assert_fails(("perplexity", "-m", self.model, "--tokens", path.parent / "none"),
                          "none")

    def test_bad_lines_for_tokenize_are_named_by_their_number(self):
        for line in BAD_TOKENIZE_LINES:
            self.assert_fails(("tokenize", "-m", self.model), "line 1", stdin=line.encode() + b"\n")


class ModelFilesTest(ErrorCase):

    def assert_model_fails(self, model, *names):
        return self.assert_fails(("generate", "-m", model, "--prompt-tokens", "1,2"), *names)

    def changed_config(self, **changes):
        folder = self.copy_of("golden/phi3-window")
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return folder

    def test_no_such_model(self):
        missing = self.temp_dir() / "none"
        for args in (("generate", "-p", "x"), ("chat",), ("inspect",), ("look", "x"),
                     ("logits", "-p", "x"), ("tokenize",), ("plan", "--stages", "1"),
                     ("perplexity", "--tokens", "x"), ("bench", "kv-cache")):
            self.assert_fails((*args, "-m", missing), missing)

    def test_folder_without_config(self):
        self.assert_model_fails(self.temp_dir(), "config.json")

    def test_config_without_weights(self):
        self.assert_model_fails(self.shared("phi3"), "random:SEED")
        self.assert_model_fails(self.shared("phi3/config.json"), "random:SEED")

    def test_corrupted_config(self):
        folder = self.copy_of("golden/phi3-window")
        path = folder / "config.json"
        whole = path.read_text()
        for text in ("", whole[:len(whole) // 2], "nonsense", "[]", "\xff\x00", "[" * 100000,
                     '{"a":' * 100000):
            path.write_text(text, encoding="latin-1")
            self.assert_model_fails(folder, "config.json")

    def test_config_with_wrong_values(self):
        for name, value in (("hidden_size", -1), ("hidden_size", "big"), ("hidden_size", 1 << 62),
                            ("num_hidden_layers", 0), ("num_hidden_layers", 1 << 40),
                            ("num_attention_heads", 0), ("num_attention_heads", 7),
                            ("vocab_size", 0), ("rms_norm_eps", "x")):
            self.assert_model_fails(self.changed_config(**{name: value}), "config.json", name)

    def test_unknown_architecture_names_those_that_work(self):
        folder = self.changed_config(model_type="nonsense", architectures=["NonsenseForCausalLM"])
        self.assert_model_fails(folder, "onsense", "phi3", "llama")

    def test_shapes_that_are_not_the_configs_name_the_tensor(self):
        self.assert_model_fails(self.changed_config(intermediate_size=320), "mlp")

    def test_missing_tensor_is_named(self):
        self.assert_model_fails(self.changed_config(num_hidden_layers=5), "layers.4.")

    def test_truncated_safetensors_names_the_file_and_the_tensor_or_header(self):
        folder = self.copy_of("golden/phi3-window")
        path = folder / "model.safetensors"
        whole = path.read_bytes()
        (header,) = struct.unpack_from("<Q", whole)
        for size in (0, 7, 8, 8 + header // 2, 8 + header, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            line = self.assert_model_fails(folder, "model.safetensors")
            self.assertRegex(line, "tensor|header|bytes", f"{size} bytes")

    def test_safetensors_with_a_lying_header(self):
        folder = self.copy_of("golden/phi3-window")
        path = folder / "model.safetensors"
        whole = path.read_bytes()
        for length in (0, 1 << 31, (1 << 64) - 1):
            path.write_bytes(struct.pack("<Q", length) + whole[8:])
            self.assert_model_fails(folder, "model.safetensors")

    def test_truncated_gguf_names_the_file(self):
        path = self.temp_dir() / "cut.gguf"
        whole = pathlib.Path(self.smollm2()).read_bytes()
        for size in (0, 3, 4, 20, 1000, 1_000_000, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            line = self.assert_model_fails(path, "cut.gguf")
            if size > len(whole) // 3:
                self.assertIn("tensor", line, f"{size} bytes")

    def test_file_that_is_no_model(self):
        path = self.temp_dir() / "model.gguf"
        path.write_bytes(b"MZ" * 1000)
        self.assert_model_fails(path, "model.gguf")

    def test_corrupted_tokenizer(self):
        folder = self.copy_of("stories260k-phi3")
        path = folder / "tokenizer.json"
        path.write_text(path.read_text()[:1000])
        self.assert_fails(("generate", "-m", folder, "-p", "x"), "tokenizer.json")


class EndTest(ErrorCase):
    """A stdout that is full or gone, and Ctrl-C."""

    def start(self, *args):
        """A running command with pipes; it is killed where it does not end."""
        process = subprocess.Popen([COMMAND, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        guard = threading.Timer(END_S, process.kill)
        guard.start()

        def end():
            guard.cancel()
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

        self.addCleanup(end)
        return process

    def start_generating(self):
        """A generation that goes on for longer than END_S, and its first byte."""
        process = self.start("generate", "-m", self.smollm2(), "--prompt", "Once upon a time",
                             "--ignore-eos", "--max-tokens", "8000")
        first = process.stdout.read1(1)
        self.assertEqual(len(first), 1)
        return process, first

    def say(self, process, line):
        process.stdin.write(line)
        process.stdin.flush()

    def await_sleep(self, process):
        """Until the process, which has nothing left to compute, waits for input."""
        status = pathlib.Path(f"/proc/{process.pid}/stat")
        while process.poll() is None and status.read_text().rpartition(")")[2].split()[0] != "S":
            pass

    def test_full_stdout_is_an_error(self):
        stories = self.shared("stories260k-phi3")
        for args in (("generate", "-m", stories, "-p", "x"),
                     ("generate", "-m", stories, "-p", "x", "--json"), ("inspect", stories),
                     ("look", "-m", stories, "x"), ("logits", "-m", stories, "-p", "x"),
                     ("plan", stories, "--stages", "2")):
            with open("/dev/full", "wb") as full:
                self.assert_fails(args, "stdout", stdout=full)

    def test_interrupt_ends_a_generation_with_130_and_whole_characters(self):
        whole = self.text_of("generate", "-m", self.smollm2(), "--prompt", "Once upon a time",
                             "--ignore-eos", "--max-tokens", 200)[:-1]
        process, first = self.start_generating()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
        self.assertEqual((process.returncode, errors), (130, b""))
        text = (first + rest).decode().removesuffix("\n")
        self.assertTrue(whole.startswith(text) or text.startswith(whole), text)

    def test_interrupt_ends_an_answer_of_chat_and_not_the_conversation(self):
        process = self.start("chat", "-m", self.smollm2(), "--ignore-eos", "--max-tokens", "8000")
        self.say(process, b"Hi\n")
        first = process.stdout.read1(1)
        self.assertTrue(first)
        process.send_signal(signal.SIGINT)
        # The second answer: without it the output would end with the first.
        self.say(process, b"What is the capital of France?\n")
        while b"Paris" not in first and (more := process.stdout.read1()):
            first += more
        self.assertIn(b"Paris", first)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()  # the end of the input
        self.assertEqual((process.returncode, errors), (0, b""))

    def test_interrupt_ends_a_chat_that_waits_for_a_line(self):
        process = self.start("chat", "-m", self.smollm2(), "--max-tokens", "3")
        self.say(process, b"Hi\n")
        self.assertTrue(process.stdout.readline())
        self.await_sleep(process)
        process.send_signal(signal.SIGINT)
        # stdin stays open: the end of the input is not what ends it.
        self.assertEqual(process.wait(), 0)
        self.assertEqual(process.stderr.read(), b"")

    def test_reader_that_goes_away_ends_the_generation(self):
        process, _ = self.start_generating()
        process.stdout.close()
        process.wait()
        self.assertNotIn(process.returncode, (0, -signal.SIGKILL))

    def test_head_of_the_output_does_not_hang(self):
        done = subprocess.run(
            ["bash", "-c", '"$@" | head -c 10', "bash", COMMAND, "generate", "-m", self.smollm2(),
             "-p", "Once upon a time", "--ignore-eos", "--max-tokens", "8000"],
            stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True)
        self.assertEqual(len(done.stdout), 10)


if __name__ == "__main__":
    unittest.main()
