"""An edge between two stages that is slow while the gateway's are not."""

import unittest

from by_hand import ClusterByHand
from streams import StreamCase

CUTS = ("0-3", "3-5")
SHORT = ("generate", "--prompt-tokens", "1,2,3", "--ignore-eos", "--max-tokens", 20)


class EdgesTest(StreamCase):

    def setUp(self):
        super().setUp()
        self.want = self.text_of(*SHORT, "--model", self.model)

    def cluster(self):
        return ClusterByHand(self, self.model, CUTS)

    def assert_serves(self, cluster):
        done = cluster.run(*SHORT)
        self.assertEqual((done.returncode, done.stdout.decode()), (0, self.want),
                         done.stderr.decode())

    def test_a_slow_edge_costs_time_and_nothing_else(self):
        with self.cluster() as cluster:
            cluster.edges.slow("shard0", "shard1", 0.02)
            self.assert_serves(cluster)


if __name__ == "__main__":
    unittest.main()
