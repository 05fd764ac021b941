"""A text whose gateway is killed goes on with the next one, or with another over the same stages,
and is what it would have been: every token once, with its log-probabilities."""

import json
import os
import signal
import subprocess
import unittest

from by_hand import Role
from catena import COMMAND, TIMEOUT_S
from cluster import Cluster, await_that
from streams import MORE, Stream, StreamCase

TOKENS = 3000
BEGUN = 50  # tokens at the gateway, of which its client has some
PENALTIES = ("--temperature", 0.9, "--top-k", 50, "--repetition-penalty", 1.1,
             "--presence-penalty", 0.2, "--frequency-penalty", 0.1)
REQUESTS = (
    ("--temperature", 0),
    ("--temperature", 0, "--logprobs", 3),
    ("--seed", 7, *PENALTIES),
    (*PENALTIES, "--logprobs", 2),  # the server draws the seed
    ("--temperature", 1, "--n", 2),
    ("--temperature", 0, "--speculate", 4),
)
OPTIONS = ("--prompt-tokens", "1,320,417", "--ignore-eos", "--max-tokens", TOKENS)


class ResumeTest(StreamCase):

    def start(self, gateway, *options):
        """A `generate --json` that is read when it has ended."""
        process = subprocess.Popen(
            [COMMAND, "generate", "--gateway", gateway, "--json", *map(str, (*OPTIONS, *options))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        process.kill()
        process.communicate()

    def begun(self, gateway):
        """How many sequences have come so far that their clients have some of them."""
        done = self.run_bytes("status", "--sequences", "--json", "--gateway", gateway)
        if done.returncode != 0:
            return 0
        listed = json.loads(done.stdout)["sequences"]
        return sum(s["output_tokens"] >= BEGUN for s in listed)

    def outputs(self, process):
        out, error = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual((process.returncode, error.decode()), (0, ""))
        return [json.loads(line) for line in out.decode().splitlines()]

    def assert_undisturbed(self, outputs, options):
        """They are what one process writes."""
        seed = () if "--seed" in options else ("--seed", outputs[0]["seed"])
        want = self.lines_of("generate", "--model", self.model, "--json", *OPTIONS, *options, *seed)
        self.assertEqual(len(outputs), len(want))
        for got, alone in zip(outputs, want):
            for field in ("token_ids", "text", "finish_reason", "seed", "logprobs"):
                self.assertTrue(got[field] == alone[field], f"another {field} of {options}")

    def gateway_of(self, cluster):
        """Another gateway over the cluster's stages, as a role of its own."""
        options = []
        for process in cluster.processes:
            if process["role"] != "gateway":
                options += ["--" + process["role"], process["address"]]
        return Role("gateway", *options)

    def test_the_gateway_is_killed_again_and_again_and_started_anew(self):
        sequences = len(REQUESTS) + 1  # one of them asks for two
        with Cluster(self, self.model, "--stages", 2) as cluster:
            running = [self.start(cluster.gateway, *options) for options in REQUESTS]
            for _ in range(2):
                await_that(lambda: self.begun(cluster.gateway) == sequences, "all have begun")
                (pid,) = cluster.pids("gateway")
                os.kill(pid, signal.SIGKILL)
                await_that(lambda: cluster.has_replaced(pid), "another has taken its place")
            for process, options in zip(running, REQUESTS):
                with self.subTest(options=options):
                    self.assert_undisturbed(self.outputs(process), options)
            self.assertEqual(cluster.log().count("was killed by signal 9"), 2)

    def test_what_people_read_goes_on_too(self):
        chat = ("chat", "--temperature", "0", "--ignore-eos", "--max-tokens", str(TOKENS))
        turns = b"Hi\nGo on\n"
        template = ("--chat-template", "chatml")
        want = self.text_of(*chat, "--model", self.model, *template, stdin=turns.decode())
        with Cluster(self, self.model, *template) as cluster:
            text = Stream(self, cluster)
            text.await_more()
            talk = subprocess.Popen([COMMAND, *chat, "--gateway", cluster.gateway],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, bufsize=0)
            self.addCleanup(self.end, talk)
            talk.stdin.write(turns)
            first = talk.stdout.read(MORE)
            (pid,) = cluster.pids("gateway")
            os.kill(pid, signal.SIGKILL)
            rest, errors = talk.communicate(timeout=TIMEOUT_S)
            self.assertEqual((talk.returncode, errors.decode()), (0, ""))
            self.assertTrue((first + rest).decode() == want, "another conversation")
            self.assert_moves(text)

    def test_two_gateways_share_the_stages_and_one_takes_over_what_the_other_had(self):
        with Cluster(self, self.model, "--stages", 2) as cluster, \
                self.gateway_of(cluster) as first, self.gateway_of(cluster) as second:
            either = f"ipv4:{first.address},{second.address}"
            running = [(self.start(gateway, *options), options)
                       for gateway in (either, cluster.gateway) for options in REQUESTS[:4]]
            await_that(lambda: self.begun(first.address) + self.begun(second.address) == 4
                       and self.begun(cluster.gateway) == 4, "all have begun")
            at_second = self.begun(second.address)
            os.kill(first.pid, signal.SIGKILL)
            self.assertEqual(at_second, 0)
            for process, options in running:
                with self.subTest(options=options):
                    self.assert_undisturbed(self.outputs(process), options)


if __name__ == "__main__":
    unittest.main()
