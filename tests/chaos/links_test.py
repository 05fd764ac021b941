"""Links between stages break, fall silent, slow down and alter what they carry while many texts are
written."""

import threading
import unittest

from chaos import SMOLLM2, ChaosCase, ClusterByHand

CUTS = ("0-10", "10-20", "10-20", "20-30")
LINKS = (("shard0", "shard1"), ("shard0", "shard2"), ("shard1", "shard3"), ("shard2", "shard3"),
         ("shard3", "head"))
HARM_S = 2
DELAY_S = 0.05
FLIPS, FLIP_S = 5, 0.2


class LinksTest(ChaosCase):

    def cluster(self):
        self.shared_model()
        return ClusterByHand(self, SMOLLM2, CUTS)

    def test_bits_flip(self):
        with self.cluster() as cluster:
            def flip():
                links = self.random.choices(LINKS, k=FLIPS)
                for link in links:
                    cluster.edges.flip(*link)
                threading.Event().wait(FLIP_S)
                for link in links:
                    cluster.edges.heal(*link)  # what is sent again comes through
                return f"flipped bits on {links}"
            self.all_texts(cluster, "bits flip", flip)
            status = cluster.status()
            seen = sum(p["load"]["corrupt"] for p in status["processes"] if "load" in p)
            self.assertGreater(seen, 0)
            self.assertIn("with other bits than were sent", cluster.log())
            self.assertIn("rows were not what was sent", cluster.run("status").stdout.decode())

    def test_links_fail_and_heal(self):
        with self.cluster() as cluster:
            def harm():
                link, edges = self.random.choice(LINKS), cluster.edges
                how = self.random.choice(("refuse", "silence", "slow"))
                if how == "slow":
                    edges.slow(*link, DELAY_S)
                else:
                    (edges.refuse if how == "refuse" else edges.silence)(*link)
                threading.Event().wait(HARM_S)
                edges.heal(*link)
                return f"{how}: {link}"
            self.all_texts(cluster, "links", harm)

    def test_a_link_is_slow(self):
        with self.cluster() as cluster:
            def nothing():
                return "it stays slow"
            for link in LINKS[:2]:
                cluster.edges.slow(*link, DELAY_S)
            self.all_texts(cluster, "50 ms between two stages", nothing)


if __name__ == "__main__":
    unittest.main()
