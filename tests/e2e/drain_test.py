"""A stage that is asked to stop takes nothing new. What runs there moves to another, or stays for
the grace where there is none, and then waits for the process that takes its place."""

import os
import signal
import subprocess
import time
import unittest

import wire
from catena import COMMAND, TIMEOUT_S
from cluster import STOP_S, Cluster, await_that
from streams import MORE, Stream, StreamCase

GRACE_S = 3  # the longest that `up` gives


class DrainTest(StreamCase):

    def stop(self, cluster, role):
        (pid,) = cluster.pids(role)
        os.kill(pid, signal.SIGTERM)
        return pid

    def test_without_another_what_runs_stays_and_then_goes_on_with_the_next_process(self):
        for role in ("shard", "head"):
            with self.subTest(role=role), Cluster(
                    self, self.model, "--stages", 1, "--grace", GRACE_S) as cluster:
                stream = Stream(self, cluster)
                stream.await_more()
                pid = self.stop(cluster, role)
                wire.await_not_serving(cluster.address(role), GRACE_S)
                stream.await_more()  # it is seen to drain, and still works
                await_that(lambda: cluster.has_replaced(pid), "another has taken its place")
                self.assert_moves(stream)

    def test_with_another_what_runs_moves_there_and_the_process_ends(self):
        with Cluster(self, self.model, "--layers", "0-2,2-5", "--replicas", "1=2",
                     "--grace", GRACE_S) as cluster:
            streams = [Stream(self, cluster) for _ in range(4)]
            for stream in streams:
                stream.await_more()
            (pid, _) = cluster.pids("shard", "2-4")
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            await_that(lambda: cluster.has_replaced(pid), "another has taken its place")
            self.assertLess(time.monotonic() - began, GRACE_S)
            for stream in streams:
                self.assert_moves(stream)

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
            wire.await_not_serving(cluster.address("shard"), STOP_S)
            os.kill(pid, signal.SIGTERM)
            await_that(lambda: cluster.has_replaced(pid), "another has taken its place")
            self.assertLess(time.monotonic() - began, GRACE_S)
            self.assert_moves(stream)


if __name__ == "__main__":
    unittest.main()
