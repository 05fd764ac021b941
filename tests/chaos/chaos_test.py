"""Processes of a cluster die, stop and are asked to leave while many texts are written."""

import itertools
import os
import signal
import threading
import unittest

from chaos import STOPPED_S, TWICE, ChaosCase, await_that


class ChaosTest(ChaosCase):

    def kill(self, cluster):
        process = self.victim(cluster)
        os.kill(process["pid"], signal.SIGKILL)
        self.await_another(cluster, process["pid"])
        return f"killed the {process['role']} {process['layers']}"

    def test_one_after_another_is_killed(self):
        with self.cluster() as cluster:
            self.all_texts(cluster, "kill", lambda: self.kill(cluster))

    def test_one_of_two_of_each_is_killed(self):
        with self.cluster(TWICE) as cluster:
            self.all_texts(cluster, "kill, all are there twice", lambda: self.kill(cluster))

    def test_several_are_killed_at_once(self):
        with self.cluster() as cluster:
            def kill_some():
                processes = [p for p in cluster.status()["processes"] if p["role"] != "gateway"]
                some = self.random.sample(processes, self.random.randint(2, len(processes)))
                for process in some:
                    os.kill(process["pid"], signal.SIGKILL)
                for process in some:
                    self.await_another(cluster, process["pid"])
                return f"killed {len(some)} at once"
            self.all_texts(cluster, "several at once", kill_some)

    def test_one_after_another_stands_still(self):
        with self.cluster() as cluster:
            def stop():
                process = self.victim(cluster, ("shard",))
                os.kill(process["pid"], signal.SIGSTOP)
                threading.Event().wait(STOPPED_S)
                os.kill(process["pid"], signal.SIGCONT)
                await_that(cluster.is_ready, "it is back")
                return f"stopped the shard {process['layers']}"
            self.all_texts(cluster, "stop", stop)

    def test_all_are_replaced_in_turn(self):
        with self.cluster() as cluster:
            turn = itertools.cycle([p for p in cluster.processes if p["role"] != "gateway"])

            def drain():
                address = next(turn)["address"]
                process = next(p for p in cluster.status()["processes"]
                               if p["address"] == address)
                os.kill(process["pid"], signal.SIGTERM)
                self.await_another(cluster, process["pid"])
                return f"drained the {process['role']} {process['layers']}"
            self.all_texts(cluster, "rolling update", drain)


if __name__ == "__main__":
    unittest.main()
