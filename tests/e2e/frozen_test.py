"""A process that is there but does nothing is missed in time, by its name; what it had goes on with
another, or with itself when it wakes, and ends where neither comes."""

import concurrent.futures
import time
import unittest

import wire
from cluster import Cluster, await_that, frozen
from streams import Stream, StreamCase

# What the headers promise: a replica is gone after two probes without an answer (discovery.h), a
# connection after two keepalive times (channel.h). Three seconds are for a busy machine.
BUSY_S = 3
DETECTED_S = 2 * (1 + 1) + BUSY_S
LEFT_S = 5 + 5 + BUSY_S
WAIT_S = 2
DEADLINE_S = 3
STATUS_S = 2  # the user contract
ASKING = 4  # at a time: not only the one whose question starts the probes

# GenerateRequest: the prompt [1] or "x", ignore_eos and 200000 tokens at most.
ENDLESS = b"\x2a\x07\x60\xc0\x9a\x0c\x90\x01\x01"
IDS, TEXT = b"\x1a\x03\x0a\x01\x01" + ENDLESS, b"\x12\x01x" + ENDLESS
GENERATE = "/catena.v1.GenerationService/Generate"


class FrozenTest(StreamCase):

    def assert_missed_in_time(self, cluster, *names):
        """The health service says so first; then `status` and new requests say what is missing."""
        wire.await_not_serving(cluster.gateway, DETECTED_S)
        for command in (("status",), ("generate", "--prompt", "x")):
            await_that(lambda command=command: self.says(cluster, command, names),
                       f"{command[0]} fails and names {names}")

    @staticmethod
    def says(cluster, command, names):
        done = cluster.run(*command)
        return done.returncode == 1 and all(name in done.stderr.decode() for name in names)

    def code_at_deadline(self, cluster, request):
        """How a request with a deadline ends, and after how many seconds."""
        start = time.monotonic()
        with wire.connect(cluster.gateway) as connection:
            call = wire.Call(connection, GENERATE, request, **{"grpc-timeout": f"{DEADLINE_S}S"})
            return call.end(), time.monotonic() - start

    def assert_ended_at_deadline(self, late):
        code, seconds = late.result()
        self.assertEqual(code, wire.DEADLINE_EXCEEDED)
        self.assertLess(seconds, DEADLINE_S + BUSY_S)

    def test_a_frozen_head_is_missed_and_every_stream_ends_with_a_status(self):
        with concurrent.futures.ThreadPoolExecutor() as pool, \
                Cluster(self, self.model, "--wait-for-route", f"{WAIT_S}s") as cluster:
            stream = Stream(self, cluster)
            stream.await_more()
            (pid,) = cluster.pids("head")
            with frozen(pid):
                start = time.monotonic()
                late = pool.submit(self.code_at_deadline, cluster, IDS)
                self.assert_missed_in_time(cluster, "head")
                self.assert_ended_at_deadline(late)
                status, line = stream.end()
                self.assertLess(time.monotonic() - start, LEFT_S + WAIT_S)
                self.assertEqual(status, 1)
                self.assertRegex(line, r"\Acatena: [^\n]*head[^\n]*\n\Z")
            await_that(cluster.is_ready, "the cluster is ready again")
            self.assert_moves(Stream(self, cluster))

    def test_a_stream_goes_on_when_its_head_does(self):
        with Cluster(self, self.model) as cluster:
            stream = Stream(self, cluster)
            stream.await_more()
            (pid,) = cluster.pids("head")
            with frozen(pid):
                self.assert_missed_in_time(cluster, "head")
            self.assert_moves(stream)
            await_that(cluster.is_ready, "the cluster is ready again")

    def test_a_frozen_tokenizer_is_missed(self):
        with Cluster(self, self.model) as cluster:
            (pid,) = cluster.pids("tokenizer")
            with frozen(pid):
                self.assert_missed_in_time(cluster, "tokenizer")
            await_that(cluster.is_ready, "the cluster is ready again")

    def test_a_stream_goes_on_when_its_tokenizer_does_and_deadlines_hold_meanwhile(self):
        with concurrent.futures.ThreadPoolExecutor() as pool, \
                Cluster(self, self.model) as cluster:
            stream = Stream(self, cluster)
            stream.await_more()
            (pid,) = cluster.pids("tokenizer")
            with frozen(pid):
                for late in [pool.submit(self.code_at_deadline, cluster, r) for r in (IDS, TEXT)]:
                    self.assert_ended_at_deadline(late)
            self.assert_moves(stream)

    def test_of_two_replicas_a_frozen_one_is_done_without(self):
        with Cluster(self, self.model, "--layers", "0-2,2-5", "--replicas", "1=2") as cluster:
            streams = []
            while not all(self.sequences_at(cluster, "2-4").values()):
                streams.append(Stream(self, cluster))
                streams[-1].await_more()
            pid, _ = self.sequences_at(cluster, "2-4").popitem()
            with frozen(pid):
                await_that(lambda: self.health_of(cluster, pid) == "unreachable",
                           "status says which one", DETECTED_S)
                self.assertTrue(wire.is_serving(cluster.gateway))
                self.assertEqual(cluster.run("generate", "--prompt", "x").returncode, 0)
                for stream in streams:
                    self.assert_moves(stream)
            await_that(cluster.is_ready, "the cluster is ready again")

    @staticmethod
    def sequences_at(cluster, layers):
        """How many run at each replica, by its pid."""
        return {p["pid"]: p["load"]["sequences"] for p in cluster.status()["processes"]
                if p["layers"] == layers}

    @staticmethod
    def health_of(cluster, pid):
        return next((p["health"] for p in (cluster.status() or {}).get("processes", ())
                     if p["pid"] == pid), None)

    def test_status_answers_in_time_whatever_is_frozen(self):
        with concurrent.futures.ThreadPoolExecutor(ASKING) as pool, \
                Cluster(self, self.model) as cluster:
            (pid,) = cluster.pids("head")
            with frozen(pid):
                start = time.monotonic()
                asked = [pool.submit(cluster.run, "status", "--json") for _ in range(ASKING)]
                for done in (future.result() for future in asked):
                    self.assertTrue(done.stdout, done.stderr.decode())
                self.assertLess(time.monotonic() - start, STATUS_S)


if __name__ == "__main__":
    unittest.main()
