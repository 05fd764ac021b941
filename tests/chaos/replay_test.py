"""A stage that is lost is rebuilt alone: that takes a part of what it takes to compute the text
anew.

Nothing is started in the place of what was killed before the text has gone on: on one machine that
would take its processors.
"""

import json
import os
import re
import signal
import statistics
import subprocess
import unittest

from chaos import COMMAND, SMOLLM2, ChaosCase, RoleCluster, await_that

STAGES, BLOCKS = 4, 30
CUTS = [f"{i * BLOCKS // STAGES}-{(i + 1) * BLOCKS // STAGES}" for i in range(STAGES)]
PROMPT = ",".join(str(100 + 7 * i % 4000) for i in range(512))
REQUEST = ("generate", "--prompt-tokens", PROMPT, "--ignore-eos", "--temperature", "0")
MOVED = re.compile(
    r"moved .*?replayed_tokens=(\d+) noticed_s=(\S+) paused_s=(\S+) why=.* has failed")
MORE = 20  # bytes that show that it decodes
ROUNDS = 3  # of each stage
SHARE = 3 / 4  # all stages anew would be 1 and more; a third is wanted, and 0.28 to 0.33 measured


class ReplayTest(ChaosCase):

    def test_one_of_four_stages_takes_a_part_of_a_prefill(self):
        self.shared_model()
        prefills, replays = [], []
        with RoleCluster(self, SMOLLM2, [cut for cut in CUTS for _ in range(2)]) as cluster:
            for _ in range(ROUNDS):
                for stage in range(STAGES):
                    await_that(cluster.all_serve, "all serve")
                    prefills.append(self.prefill(cluster))
                    replays.append(self.replay(cluster, stage))
        share = statistics.median(replays) / statistics.median(prefills)
        ms = [1000 * statistics.median(times) for times in (prefills, replays)]
        print(f"512 tokens: a prefill {ms[0]:.0f} ms, one stage of {STAGES} replayed "
              f"{ms[1]:.0f} ms: {share:.2f} of it")
        self.assertLessEqual(share, SHARE)

    def prefill(self, cluster):
        done = cluster.run(*REQUEST, "--max-tokens", "1", "--json")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout)["stats"]["prefill_s"]

    def replay(self, cluster, stage):
        """Seconds from when the loss of a shard was noticed until the text went on."""
        def moved():
            return MOVED.findall(cluster.roles["gateway"].log())
        before = len(moved())
        stream = subprocess.Popen(
            [COMMAND, *REQUEST, "--gateway", cluster.gateway, "--max-tokens", "2000"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        with stream:
            stream.stdout.read(MORE)
            victim = self.busier(cluster, stage)
            os.kill(cluster.roles[victim].pid, signal.SIGKILL)
            await_that(lambda: len(moved()) > before, "it has moved")
            stream.send_signal(signal.SIGINT)
            stream.stdout.read()
        cluster.roles[victim].await_end()
        cluster.start_again(victim)
        replayed, noticed, paused = moved()[before]
        self.assertGreaterEqual(int(replayed), 512)
        return float(paused) - float(noticed)

    @staticmethod
    def busier(cluster, stage):
        """Which replica of the stage has the text."""
        sequences = {p["address"]: p["load"]["sequences"]
                     for p in cluster.status()["processes"] if "load" in p}
        return max((f"shard{2 * stage + i}" for i in range(2)),
                   key=lambda name: sequences[cluster.roles[name].address])


if __name__ == "__main__":
    unittest.main()
