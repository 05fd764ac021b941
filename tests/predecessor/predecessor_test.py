"""A release talks to its predecessor: in every role, in either direction, and while texts are
written, of which none fails and none is altered.

CATENA_BEFORE  the predecessor's command
"""

import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from by_hand import RoleCluster  # noqa: E402
from catena import COMMAND  # noqa: E402
from cluster import await_that  # noqa: E402
from streams import Stream, StreamCase  # noqa: E402

BEFORE = os.environ.get("CATENA_BEFORE", "")
CUTS = ("0-2", "0-2", "2-5", "2-5")
ROLES = ("tokenizer", "shard0", "shard1", "shard2", "shard3", "head", "gateway")
REQUEST = ("generate", "--prompt", "Once upon a time", "--ignore-eos", "--max-tokens", 40)
GRACE = ("--grace", 2)
REQUESTS = 8  # enough to go every way


class PredecessorTest(StreamCase):

    def setUp(self):
        if not BEFORE:
            self.skipTest("no predecessor: set CATENA_BEFORE")
        super().setUp()
        self.want = self.text_of(*REQUEST, "--model", self.model)

    def cluster(self, program_of):
        cluster = RoleCluster(self, self.model, CUTS, stage_options=GRACE, tokenizer_options=GRACE,
                              program_of=program_of)
        arithmetic = {p["numerics_id"] for p in cluster.status()["processes"]
                      if p.get("numerics_id")}
        if len(arithmetic) > 1:
            cluster.__exit__(None)
            self.skipTest(f"they compute other bits, and never share a text: {arithmetic}")
        return cluster

    def assert_serves(self, cluster):
        await_that(cluster.all_serve, "all serve")
        for _ in range(REQUESTS):
            done = cluster.run(*REQUEST)
            self.assertEqual((done.returncode, done.stdout.decode()), (0, self.want),
                             done.stderr.decode())

    def test_one_role_is_newer(self):
        for newer in ROLES:
            with self.subTest(newer=newer), self.cluster(
                    lambda name, newer=newer: COMMAND if name == newer else BEFORE) as cluster:
                self.assert_serves(cluster)

    def test_one_role_is_older(self):
        for older in ROLES:
            with self.subTest(older=older), self.cluster(
                    lambda name, older=older: BEFORE if name == older else COMMAND) as cluster:
                self.assert_serves(cluster)

    def test_texts_outlive_a_rolling_update(self):
        for before, after in ((BEFORE, COMMAND), (COMMAND, BEFORE)):
            program = dict.fromkeys(ROLES, before)
            with self.subTest(to=after), self.cluster(program.get) as cluster:
                await_that(cluster.all_serve, "all serve")
                streams = [Stream(self, cluster) for _ in range(4)]
                for name in ROLES[:-1]:
                    for stream in streams:
                        stream.await_more()
                    program[name] = after
                    cluster.replace(name)
                    await_that(cluster.all_serve, f"all serve with another {name}")
                for stream in streams:
                    self.assert_moves(stream)
                self.assert_serves(cluster)


if __name__ == "__main__":
    unittest.main()
