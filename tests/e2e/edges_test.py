"""An edge between two stages that fails while the gateway reaches both: what needs it ends in time,
what comes meanwhile is refused at once or goes another way, and all is well once it heals."""

import time
import unittest

from by_hand import ClusterByHand
from cluster import await_that
from streams import Stream, StreamCase

CUTS = ("0-3", "3-5")
BROKEN_EDGE_S, KEEPALIVE_S = 1, 1
BOTH = ("--heartbeat", "100ms", "--keepalive", f"{KEEPALIVE_S}s",
        "--keepalive-timeout", f"{KEEPALIVE_S}s")
STAGE = (*BOTH, "--broken-edge", f"{BROKEN_EDGE_S}s")
GATEWAY = (*BOTH, "--probe-every", "200ms", "--no-progress", "5s")
BUSY_S = 5  # for a machine that does other things too
AT_ONCE_S = 2 + BUSY_S  # less than any limit's default takes
SHORT = ("generate", "--prompt-tokens", "1,2,3", "--ignore-eos", "--max-tokens", 20)
REQUESTS = 8


class EdgesTest(StreamCase):

    def setUp(self):
        super().setUp()
        self.want = self.text_of(*SHORT, "--model", self.model)

    def cluster(self, cuts=CUTS):
        return ClusterByHand(self, self.model, cuts, stage_options=STAGE, gateway_options=GATEWAY)

    def assert_serves(self, cluster):
        done = cluster.run(*SHORT)
        self.assertEqual((done.returncode, done.stdout.decode()), (0, self.want),
                         done.stderr.decode())

    def assert_refused_at_once(self, cluster):
        start = time.monotonic()
        done = cluster.run(*SHORT)
        self.assertLess(time.monotonic() - start, AT_ONCE_S)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, b"")

    def assert_fails_and_heals(self, fail, most_s):
        with self.cluster() as cluster:
            stream = Stream(self, cluster)
            stream.await_more()
            start = time.monotonic()
            fail(cluster.edges, "shard0", "shard1")
            status, line = stream.end()
            self.assertLess(time.monotonic() - start, most_s)
            self.assertEqual(status, 1)
            self.assertIn(cluster.fronts["shard1"], line)
            await_that(lambda: not cluster.is_ready(), "the cluster is not ready")
            self.assertIn(cluster.fronts["shard1"], cluster.run("status").stderr.decode())
            for _ in range(3):
                self.assert_refused_at_once(cluster)
            cluster.edges.heal("shard0", "shard1")
            await_that(cluster.is_ready, "the cluster is ready again")
            self.assert_moves(Stream(self, cluster))

    def test_a_refused_edge_ends_what_needs_it_and_serves_when_it_heals(self):
        self.assert_fails_and_heals(lambda edges, *edge: edges.refuse(*edge),
                                    BROKEN_EDGE_S + BUSY_S)

    def test_a_silent_edge_ends_what_needs_it_and_serves_when_it_heals(self):
        self.assert_fails_and_heals(lambda edges, *edge: edges.silence(*edge),
                                    2 * KEEPALIVE_S + BROKEN_EDGE_S + BUSY_S)

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
            # The first may have been under way there. It has the least load ever after.
            await_that(lambda: cluster.run(*SHORT).returncode == 0, "a request goes another way")
            for _ in range(REQUESTS):
                self.assert_serves(cluster)
            self.assertTrue(cluster.is_ready())

    def test_a_slow_edge_costs_time_and_nothing_else(self):
        with self.cluster() as cluster:
            cluster.edges.slow("shard0", "shard1", 0.02)
            self.assert_serves(cluster)


if __name__ == "__main__":
    unittest.main()
