"""A stage that is asked to stop takes nothing new, lets what runs go on for the grace, and then
ends it with an error that its client reads."""

import os
import signal
import subprocess
import time
import unittest

import wire
from catena import COMMAND, TIMEOUT_S
from cluster import STOP_S, Cluster, await_that
from streams import MORE, Stream, StreamCase

GRACE_S = 3


class DrainTest(StreamCase):

    def stop(self, cluster, role):
        (pid,) = cluster.pids(role)
        os.kill(pid, signal.SIGTERM)
        return pid

    def test_what_runs_goes_on_and_is_ended_after_the_grace(self):
        for role in ("shard", "head"):
            with self.subTest(role=role), Cluster(
                    self, self.model, "--stages", 1, "--grace", GRACE_S) as cluster:
                stream = Stream(self, cluster)
                stream.await_more()
                began = time.monotonic()
                pid = self.stop(cluster, role)
                wire.await_not_serving(cluster.address(role), GRACE_S)
                stream.await_more()  # it is seen to drain, and still works
                refused = cluster.run("generate", "--prompt-tokens", "1", "--max-tokens", 2)
                self.assertNotEqual(refused.returncode, 0, "it took something new")
                code, error = stream.end()
                self.assertLess(time.monotonic() - began, STOP_S)
                self.assertNotEqual(code, 0)
                self.assertIn("stopping", error)
                await_that(lambda: cluster.has_replaced(pid), "another has taken its place")

    def test_what_ends_within_the_grace_is_whole(self):
        options = ("--prompt-tokens", "1", "--ignore-eos", "--max-tokens", "600")
        want = self.text_of("generate", "--model", self.model, *options)
        for role in ("shard", "head", "tokenizer"):
            with self.subTest(role=role), Cluster(
                    self, self.model, "--stages", 1, "--grace", GRACE_S) as cluster:
                running = subprocess.Popen(
                    [COMMAND, "generate", "--gateway", cluster.gateway, *options],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    bufsize=0)  # communicate() would lose what is buffered
                first = running.stdout.read(MORE)
                self.stop(cluster, role)
                rest, error = running.communicate(timeout=TIMEOUT_S)
                self.assertEqual((running.returncode, error.decode()), (0, ""))
                self.assertEqual((first + rest).decode(), want)

    def test_a_second_signal_ends_it_at_once(self):
        with Cluster(self, self.model, "--stages", 1, "--grace", GRACE_S) as cluster:
            stream = Stream(self, cluster)
            stream.await_more()
            began = time.monotonic()
            pid = self.stop(cluster, "shard")
            wire.await_not_serving(cluster.address("shard"), GRACE_S)
            os.kill(pid, signal.SIGTERM)
            code, error = stream.end()
            self.assertNotEqual(code, 0)
            self.assertIn("stopping", error)
            self.assertLess(time.monotonic() - began, GRACE_S)


if __name__ == "__main__":
    unittest.main()
