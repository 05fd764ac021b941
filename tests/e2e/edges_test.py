"""An edge between two stages that fails while the gateway reaches both: what needs it goes another
way, or waits where there is none until it heals, and ends where that takes too long. No text
differs."""

import time
import unittest

from by_hand import ClusterByHand
from cluster import await_that
from streams import Stream, StreamCase

CUTS = ("0-3", "3-5")
WAIT_S, KEEPALIVE_S = 3, 1
BOTH = ("--heartbeat", "100ms", "--keepalive", f"{KEEPALIVE_S}s",
        "--keepalive-timeout", f"{KEEPALIVE_S}s")
GATEWAY = (*BOTH, "--probe-every", "200ms", "--no-progress", "5s")
BUSY_S = 5  # for a machine that does other things too
SHORT = ("generate", "--prompt-tokens", "1,2,3", "--ignore-eos", "--max-tokens", 20)
REQUESTS = 8


class EdgesTest(StreamCase):

    def setUp(self):
        super().setUp()
        self.want = self.text_of(*SHORT, "--model", self.model)

    def cluster(self, cuts=CUTS, wait=()):
        return ClusterByHand(self, self.model, cuts, stage_options=BOTH,
                             gateway_options=(*GATEWAY, *wait))

    def assert_serves(self, cluster):
        done = cluster.run(*SHORT)
        self.assertEqual((done.returncode, done.stdout.decode()), (0, self.want),
                         done.stderr.decode())

    def assert_waits_and_goes_on(self, fail):
        with self.cluster() as cluster:
            stream = Stream(self, cluster)
            stream.await_more()
            fail(cluster.edges, "shard0", "shard1")
            await_that(lambda: not cluster.is_ready(), "the cluster is not ready")
            self.assertIn(cluster.fronts["shard1"], cluster.run("status").stderr.decode())
            cluster.edges.heal("shard0", "shard1")
            await_that(cluster.is_ready, "the cluster is ready again")
            self.assert_moves(stream)

    def test_what_needs_a_refused_edge_goes_on_when_it_heals(self):
        self.assert_waits_and_goes_on(lambda edges, *edge: edges.refuse(*edge))

    def test_what_needs_a_silent_edge_goes_on_when_it_heals(self):
        self.assert_waits_and_goes_on(lambda edges, *edge: edges.silence(*edge))

    def test_what_has_waited_for_long_ends_and_names_the_edge(self):
        with self.cluster(wait=("--wait-for-route", f"{WAIT_S}s")) as cluster:
            stream = Stream(self, cluster)
            stream.await_more()
            start = time.monotonic()
            cluster.edges.refuse("shard0", "shard1")
            status, line = stream.end()
            # It stands still for so long before it is taken from where it is.
            self.assertLess(time.monotonic() - start, 5 + WAIT_S + BUSY_S)
            self.assertEqual(status, 1)
            self.assertIn(cluster.fronts["shard1"], line)
            start = time.monotonic()
            done = cluster.run(*SHORT)  # it is known, and refused at the door
            self.assertLess(time.monotonic() - start, WAIT_S + BUSY_S)
            self.assertEqual((done.returncode, done.stdout), (1, b""))

    def test_what_runs_goes_round_an_edge_that_fails(self):
        with self.cluster(("0-3", "3-5", "3-5")) as cluster:
            streams = [Stream(self, cluster) for _ in range(4)]
            for stream in streams:
                stream.await_more()
            cluster.edges.refuse("shard0", "shard1")
            for stream in streams:
                stream.await_more()
            for stream in streams:
                self.assert_moves(stream)

    def test_an_edge_that_fails_and_heals_while_nobody_asks_harms_no_request(self):
        with self.cluster() as cluster:
            self.assert_serves(cluster)
            cluster.edges.refuse("shard0", "shard1")
            await_that(lambda: not cluster.is_ready(), "the cluster is not ready")
            cluster.edges.heal("shard0", "shard1")
            await_that(cluster.is_ready, "the cluster is ready again")
            self.assert_serves(cluster)

    def test_requests_pass_by_a_replica_that_cannot_be_reached(self):
        with self.cluster(("0-3", "3-5", "3-5")) as cluster:
            self.assert_serves(cluster)
            cluster.edges.refuse("shard0", "shard1")
            for _ in range(REQUESTS):  # though it has the least load ever after
                self.assert_serves(cluster)
            self.assertTrue(cluster.is_ready())

    def test_a_slow_edge_costs_time_and_nothing_else(self):
        with self.cluster() as cluster:
            cluster.edges.slow("shard0", "shard1", 0.02)
            self.assert_serves(cluster)


if __name__ == "__main__":
    unittest.main()
