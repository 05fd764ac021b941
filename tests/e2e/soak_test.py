"""Under load of every kind, with edges that break and heal, a cluster gives everything back.

SOAK_SECONDS  how long (20)
SOAK_RECORD   a file for what was held over time
"""

import itertools
import json
import os
import threading
import time
import unittest

from by_hand import ClusterByHand
from catena import TIMEOUT_S, CatenaTest
from cluster import anonymous_memory, await_that, is_running

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
RECORD = os.environ.get("SOAK_RECORD")
ROWS = 40  # of a record, about
WARM_UP_S = 3
STREAMS = 64
MIB = 1 << 20

CUTS = ("0-3", "3-5", "3-5")
# One at a time: there is another way round each.
EDGES = (("shard0", "shard1"), ("shard1", "head"), ("shard0", "shard2"), ("shard2", "head"))
BROKEN_S, WHOLE_S = 1.5, 1.5

# What a replica must hold nothing of once nobody asks for anything.
GIVEN_BACK = ("sequences", "queued_rows", "kv_pages_used", "journal_bytes", "oldest_step_ns")


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Record:
    """What the processes of a cluster hold, asked again and again until the end of a `with`."""

    def __init__(self, cluster, every_s):
        self.rows = []  # (seconds, {role: bytes}, {role: descriptors}, KV bytes, journal bytes)
        self._cluster = cluster
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.add()

    def _run(self):
        while not self._over.wait(self._every_s):
            self.add()

    def add(self):
        pids = {name: role.pid for name, role in self._cluster.roles.items()}
        files = {name: open_files(pid) for name, pid in pids.items()}
        loads = [p["load"] for p in self._cluster.status()["processes"]]  # by a connection
        self.rows.append((
            time.monotonic() - self._start,
            {name: anonymous_memory(pid) for name, pid in pids.items()},
            files,
            sum(load["kv_pages_used"] * load["kv_page_bytes"] for load in loads),
            sum(load["journal_bytes"] for load in loads)))

    def table(self):
        roles = list(self.rows[0][1])
        lines = ["MiB of memory and open descriptors of each process, KiB of KV cache and journals",
                 "  time" + "".join(f"{role:>14}" for role in roles) + "       KV  journal"]
        for seconds, memory, files, kv, journal in self.rows:
            lines.append(f"{seconds:5.0f}s"
                         + "".join(f"{memory[r] / MIB:9.1f} {files[r]:4}" for r in roles)
                         + f" {kv / 1024:8.0f} {journal / 1024:8.0f}")
        return "\n".join(lines) + "\n"


class Breaks(threading.Thread):
    """Breaks one edge after another, and heals each; until `over`."""

    def __init__(self, edges):
        super().__init__()
        self._edges = edges
        self._over = threading.Event()
        self.count = 0

    def run(self):
        for edge, how in zip(itertools.cycle(EDGES),
                             itertools.cycle((self._edges.refuse, self._edges.silence,
                                              self._edges.refuse))):
            how(*edge)
            self.count += 1
            self._over.wait(BROKEN_S)
            self._edges.heal(*edge)
            if self._over.wait(WHOLE_S):
                return

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()


class SoakTest(CatenaTest):

    def load(self, cluster, seconds, seed):
        """Streams of random lengths, some cancelled, some too late."""
        done = cluster.run("bench", "serve", "--concurrency", STREAMS, "--duration", seconds,
                           "--seed", seed, "--prompt-tokens", 40, "--max-prompt-tokens", 300,
                           "--output-tokens", 40, "--max-output-tokens", 150,
                           "--cancel-share", 0.2, "--deadline-share", 0.2, "--json",
                           timeout=seconds + TIMEOUT_S)
        result = json.loads(done.stdout or "null")
        self.assertIsNotNone(result, done.stderr.decode() + cluster.log())
        self.assertEqual(done.returncode, 0 if result["requests"]["failed"] == 0 else 1)
        return result

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

    def assert_held_no_more(self, cluster, before, after):
        """Rows of a record from before the load and from when nothing runs any more."""
        _, memory, files, _, _ = before
        _, memory_after, _, kv, journal = after
        self.assertEqual((kv, journal), (0, 0))
        for name, role in cluster.roles.items():
            self.assertLess(memory_after[name], memory[name] * 1.2 + 16 * MIB, name)
            # Who asked last may still be hanging up.
            await_that(lambda role=role, most=files[name]: open_files(role.pid) <= most,
                       f"the {name} has no more than {files[name]} open files")

    def test_everything_is_given_back(self):
        model = self.shared("stories260k-phi3")
        with ClusterByHand(self, model, CUTS) as cluster:
            await_that(cluster.is_ready, "the cluster is ready")
            warm = self.load(cluster, WARM_UP_S, seed=1)
            self.assertEqual(warm["errors"], {})
            self.assert_all_given_back(cluster)

            with Record(cluster, max(1, SECONDS / ROWS)) as record:
                record.add()
                with Breaks(cluster.edges) as breaks:
                    result = self.load(cluster, SECONDS, seed=2)
                await_that(cluster.is_ready, "the cluster is ready again")
                self.assert_all_given_back(cluster)
            table = record.table() + f"{result['requests']}, {breaks.count} edges broken\n"
            if RECORD:
                with open(RECORD, "w", encoding="utf-8") as out:
                    out.write(table)

            for kind in ("completed", "cancelled", "missed_deadline"):
                self.assertGreater(result["requests"][kind], 0, kind)
            self.assertEqual(result["errors"], {}, "there is a way round each edge")
            try:
                self.assert_held_no_more(cluster, record.rows[0], record.rows[-1])
            except AssertionError as error:
                self.fail(f"{error}\n{table}")
            for process in cluster.status()["processes"]:
                self.assertEqual(process["load"]["divergences"], 0)
            self.assertTrue(all(is_running(role.pid) for role in cluster.roles.values()))


if __name__ == "__main__":
    unittest.main()
