"""Where a gateway has API keys, whoever asks for text needs one of them."""

import unittest

import wire
from cluster import Cluster
from errors_test import ErrorCase

KEYS = ("sk-first", "sk-second")
GENERATE = ("generate", "--prompt-tokens", 1, "--max-tokens", 4)


class ApiKeysTest(ErrorCase):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")
        keys = self.temp_dir() / "keys"
        keys.write_text("# those of the test\n\n" + "\n".join(KEYS) + "\n", encoding="ascii")
        self.options = ("--stages", 1, "--api-keys", keys)

    def code(self, cluster, method, **metadata):
        with wire.connect(cluster.gateway) as connection:
            return wire.Call(connection, f"/catena.v1.GenerationService/{method}",
                             **metadata).end()

    def test_no_key_or_a_wrong_one_is_refused_in_one_line_that_says_what_to_do(self):
        with Cluster(self, self.model, *self.options) as cluster:
            there = ("--gateway", cluster.gateway)
            for command in (GENERATE, ("look", "--prompt-tokens", "1,2"), ("bench", "serve"),
                            ("chat",)):
                with self.subTest(command=command[0]):
                    for options, name in (((), "Bearer"), (("--api-key", "sk-wrong"), "not one")):
                        self.assert_fails((*command, *there, *options), "API key", name,
                                          stdin=b"Hi\n")
            line = self.assert_fails((*GENERATE, *there, "--api-key", "sk-wrong"))
            self.assertNotIn("sk-", line)  # neither the one that was given nor one that would do

    def test_codes_are_those_of_the_contract(self):
        with Cluster(self, self.model, *self.options) as cluster:
            for method in ("Generate", "Score", "Tokenize", "ListModels"):
                with self.subTest(method=method):
                    for authorization in ("Bearer sk-wrong", "Bearer sk-firs", "Bearer sk-first1",
                                          "Bearer # those of the test", "Bearer "):
                        self.assertEqual(self.code(cluster, method, authorization=authorization),
                                         wire.PERMISSION_DENIED, authorization)
                    for metadata in ({}, {"authorization": ""}, {"authorization": KEYS[0]},
                                     {"authorization": "Basic " + KEYS[0]}):
                        self.assertEqual(self.code(cluster, method, **metadata),
                                         wire.UNAUTHENTICATED, metadata)
            for scheme in ("Bearer ", "bearer "):
                for key in KEYS:
                    self.assertEqual(
                        self.code(cluster, "ListModels", authorization=scheme + key), wire.OK)

    def test_each_key_lets_in_and_the_text_is_what_it_is_without_keys(self):
        want = self.text_of(*GENERATE, "--model", self.model)
        with Cluster(self, self.model, *self.options) as cluster:
            for key in KEYS:
                done = cluster.run(*GENERATE, "--api-key", key)
                self.assertEqual((done.returncode, done.stdout.decode()), (0, want), done.stderr)

    def test_a_file_without_keys_does_not_open_the_door(self):
        empty = self.temp_dir() / "empty"
        empty.write_text("# none\n", encoding="ascii")
        done = self.run_bytes("up", "--model", self.model, "--api-keys", empty, "--json")
        self.assertEqual((done.returncode > 0, done.stdout), (True, b""))
        self.assertIn(str(empty), done.stderr.decode().splitlines()[-1])


if __name__ == "__main__":
    unittest.main()
