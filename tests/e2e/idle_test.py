"""A cluster that nobody asks for anything leaves the machine to others."""

import os
import pathlib
import subprocess
import unittest

from catena import CatenaTest
from cluster import Cluster

MEASURED_S = 5
MOST = 0.05  # of one core, all processes together


def cpu_seconds(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


class IdleTest(CatenaTest):

    def test_four_idle_roles_take_a_few_percent_of_a_core_at_most(self):
        with Cluster(self, self.shared("stories260k-phi3"), "--stages", 1) as cluster:
            self.assertEqual(len(cluster.processes), 4)
            self.assertEqual(cluster.run("generate", "--prompt", "x").returncode, 0)
            pids = [cluster.process.pid, *(p["pid"] for p in cluster.processes)]
            before = [cpu_seconds(pid) for pid in pids]
            with self.assertRaises(subprocess.TimeoutExpired):
                cluster.process.wait(MEASURED_S)  # the time that is measured, and no end of `up`
            used = sum(map(cpu_seconds, pids)) - sum(before)
            self.assertLess(used / MEASURED_S, MOST, cluster.log())


if __name__ == "__main__":
    unittest.main()
