"""Under load of every kind for a while, a cluster gives everything back.

SOAK_SECONDS  how long (20)
"""

import json
import os
import unittest

from catena import TIMEOUT_S, CatenaTest
from cluster import Cluster, anonymous_memory, await_that

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
WARM_UP_S = 3
STREAMS = 64
MIB = 1 << 20

# What a replica must hold nothing of once nobody asks for anything.
GIVEN_BACK = ("sequences", "queued_rows", "kv_pages_used", "journal_bytes", "oldest_step_ns")


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class SoakTest(CatenaTest):

    def load(self, cluster, seconds, seed):
        """Streams of random lengths, some cancelled, some too late; none may fail otherwise."""
        done = cluster.run("bench", "serve", "--concurrency", STREAMS, "--duration", seconds,
                           "--seed", seed, "--prompt-tokens", 40, "--max-prompt-tokens", 300,
                           "--output-tokens", 40, "--max-output-tokens", 150,
                           "--cancel-share", 0.2, "--deadline-share", 0.2, "--json",
                           timeout=seconds + TIMEOUT_S)
        self.assertEqual(done.returncode, 0, done.stderr.decode() + cluster.log())
        return json.loads(done.stdout)

    def assert_all_given_back(self, cluster):
        def held():
            status = cluster.status()
            rest = {f"{p['role']} {p['layers']} {key}": p["load"][key]
                    for p in status["processes"] for key in GIVEN_BACK if p["load"][key] != 0}
            rest.update({key: status[key] for key in ("requests_running", "requests_waiting")
                         if status[key] != 0})
            return rest
        try:
            await_that(lambda: not held(), "everything is given back")
        except AssertionError as error:
            self.fail(f"{error}: {held()}")

    def test_everything_is_given_back(self):
        with Cluster(self, self.shared("stories260k-phi3"), "--stages", 2) as cluster:
            pids = {p["pid"]: p["role"] for p in cluster.processes}
            self.load(cluster, WARM_UP_S, seed=1)
            self.assert_all_given_back(cluster)
            files = {pid: open_files(pid) for pid in pids}
            memory = {pid: anonymous_memory(pid) for pid in pids}

            result = self.load(cluster, SECONDS, seed=2)
            for kind in ("completed", "cancelled", "missed_deadline"):
                self.assertGreater(result["requests"][kind], 0, kind)
            self.assert_all_given_back(cluster)

            for pid, role in pids.items():
                await_that(lambda pid=pid: open_files(pid) <= files[pid],
                           f"the {role} has as few open files as before")
                self.assertLess(anonymous_memory(pid), memory[pid] * 1.2 + 16 * MIB, role)
            for process in cluster.status()["processes"]:
                self.assertEqual(process["load"]["divergences"], 0)
                self.assertIn(process["pid"], pids)  # nothing died


if __name__ == "__main__":
    unittest.main()
