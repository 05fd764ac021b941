"""A stage gets more replicas and loses them again while many texts are written."""

import time
import unittest

from chaos import SMOLLM2, ChaosCase, ClusterByHand, await_that

CUTS = ("0-10", "10-20", "20-30")
BLOCKS = CUTS[1]
REPLICAS = ("shard1", "more", "most")
USED_S = 10  # a new replica has work


class ScalingTest(ChaosCase):

    def sequences(self, cluster, name):
        status = cluster.status() or {"processes": []}
        return sum(p["load"]["sequences"] for p in status["processes"]
                   if p["address"] == cluster.fronts[name])

    def test_a_stage_is_scaled_from_one_to_three_and_back(self):
        self.shared_model()
        used_after = []
        with ClusterByHand(self, SMOLLM2, CUTS, absent=REPLICAS[1:]) as cluster:
            running = [REPLICAS[0]]

            def scale():
                new = [name for name in REPLICAS if name not in running]
                for name in new:
                    cluster.start_shard(name, BLOCKS)
                    started = time.monotonic()
                    await_that(lambda name=name: (self.sequences(cluster, name) > 0 or
                                                  not self.texts_left),
                               f"{name} has work", USED_S)
                    if self.texts_left:
                        used_after.append(time.monotonic() - started)
                gone = running + new[:1]
                for name in gone:
                    done = cluster.run("drain", cluster.fronts[name])
                    self.assertEqual(done.returncode, 0, done.stderr.decode())
                    self.assertEqual(cluster.await_end(name), 0)
                running[:] = new[1:]
                return f"scaled from {gone[0]} to three and to {running[0]}"
            self.all_texts(cluster, "one to three and back", scale)
        self.assertTrue(used_after)
        print(f"new replicas had work after {max(used_after):.1f} s at most")


if __name__ == "__main__":
    unittest.main()
