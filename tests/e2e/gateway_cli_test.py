"""generate, chat and look say through a gateway what they say of a model in their own process."""

import json
import os
import signal
import subprocess
import unittest

from catena import COMMAND, TIMEOUT_S
from cluster import Cluster, await_that
from errors_test import ErrorCase

# Of `generate`; what it shows must not depend on where the model is.
GENERATE = (("--prompt", "Once upon a time"),
            ("--prompt", "Once", "--max-tokens", 40, "--stop", "e girl n", "--stop", "never"),
            ("--prompt", "Once", "--max-tokens", 40, "--stop", "girl", "--min-tokens", 20),
            ("--prompt", "Once", "--n", 3, "--seed", 2, "--temperature", 1),
            ("--prompt", "caf\xe9 \U0001f642\n", "--max-tokens", 8),
            ("--prompt-tokens", "1,403,407", "--logit-bias", "1=100"),
            ("--prompt-tokens", 1, "--ignore-eos", "--max-tokens", 600))
LOOK = (("Once upon a time",), ("Once", "--top", 20), ("--prompt-tokens", "1,3,260,403"))
SECONDS = ("load_s", "prefill_s", "decode_s", "peak_memory_bytes")


def without_seconds(line, *more):
    out = json.loads(line)
    for name in SECONDS:
        out["stats"].pop(name)
    for name in more:
        out.pop(name)
    return out


class GatewayCliTest(ErrorCase):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")

    def through(self, cluster, *args, stdin=b""):
        done = cluster.run(*args, stdin=stdin)
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""), cluster.log())
        return done.stdout.decode()

    def test_output_is_that_of_one_process(self):
        with Cluster(self, self.model) as cluster:
            for options in GENERATE:
                args = ("generate", *options)
                with self.subTest(args=args):
                    self.assertEqual(self.through(cluster, *args),
                                     self.text_of(*args, "-m", self.model))
                    args += ("--json", "--seed", 4, "--logprobs", 2)
                    if "--seed" in options:
                        continue
                    here = self.text_of(*args, "-m", self.model).splitlines()
                    there = self.through(cluster, *args).splitlines()
                    ids = [line.pop("sequence_id") for line in map(without_seconds, there)]
                    self.assertEqual(len(set(ids)), len(there))
                    self.assertEqual([without_seconds(line, "sequence_id") for line in there],
                                     [without_seconds(line) for line in here])
                    self.assertEqual([list(json.loads(line)["stats"]) for line in there],
                                     [list(json.loads(line)["stats"]) for line in here])
            for options in LOOK:
                for form in ((), ("--json",)):
                    with self.subTest(look=options, form=form):
                        self.assertEqual(self.through(cluster, "look", *options, *form),
                                         self.text_of("look", *options, *form, "-m", self.model))

    def test_prompt_that_is_no_utf8_is_that_of_one_process(self):
        args = ("generate", "--prompt", "-", "--max-tokens", 5)
        with Cluster(self, self.model) as cluster:
            here = self.run_bytes(*args, "-m", self.model, stdin=b"a\xff\xfeb")
            self.assertEqual(self.through(cluster, *args, stdin=b"a\xff\xfeb"),
                             here.stdout.decode())

    def test_errors_say_what_to_do(self):
        with Cluster(self, self.model) as cluster:
            there = ("--gateway", cluster.gateway)
            generate = ("generate", *there, "--prompt", "x")
            self.assert_fails((*generate, "--model", "nonsense"), "nonsense", "stories260k-phi3")
            self.assert_fails((*generate, "--threads", 2), "--threads", "--gateway")
            self.assert_fails(("chat", *there), "chat template", stdin=b"Hi\n")
            self.assert_fails(("look", *there), "--prompt-tokens")
            self.assert_fails((*generate, "--tls-ca", self.temp_dir() / "absent"), "absent")
            self.assertEqual(cluster.run("generate", "--prompt", "x", "--model",
                                         self.model).returncode, 0)
        self.assert_fails(("look", "x"), "--model", "--gateway")

    def start_in(self, cluster, *args):
        process = subprocess.Popen([COMMAND, *map(str, args), "--gateway", cluster.gateway],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        return process

    @staticmethod
    def open_sequences(cluster):
        return [p["load"]["sequences"] for p in cluster.status()["processes"]
                if p["role"] in ("shard", "head")]

    def test_interrupt_ends_the_stream_and_frees_the_sequence(self):
        with Cluster(self, self.smollm2()) as cluster:
            process = self.start_in(cluster, "generate", "-p", "Once", "--ignore-eos",
                                    "--max-tokens", 8000)
            self.assertTrue(process.stdout.read(5))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=TIMEOUT_S)
            self.assertEqual((process.returncode, errors), (130, b""))
            chat = self.start_in(cluster, "chat", "--ignore-eos", "--max-tokens", 8000)
            chat.stdin.write(b"Hi\n")
            chat.stdin.flush()
            self.assertTrue(os.read(chat.stdout.fileno(), 1))
            chat.send_signal(signal.SIGINT)
            rest, errors = chat.communicate(timeout=TIMEOUT_S)  # the end of its input
            self.assertEqual((chat.returncode, errors), (0, b""))
            self.assertTrue(rest.endswith(b"\n"))
            await_that(lambda: self.open_sequences(cluster) == [0, 0, 0], "all is freed")

    def test_chat_keeps_the_conversation(self):
        turns = b"My name is Bob.\nWhat is my name?\n"
        options = ("chat", "--temperature", 0, "--max-tokens", 20)
        with Cluster(self, self.smollm2()) as cluster:
            self.assertEqual(self.through(cluster, *options, stdin=turns),
                             self.run_bytes(*options, "-m", self.smollm2(),
                                            stdin=turns).stdout.decode())


if __name__ == "__main__":
    unittest.main()
