"""What clients of the public port send, or do not send, costs a gateway next to nothing, whether
they have a key or not; and others are served meanwhile."""

import contextlib
import os
import unittest

import wire
from certificates import Authority, TlsFiles, need_openssl
from cluster import Cluster, anonymous_memory, await_that
from errors_test import ErrorCase
from flood import Flood, connect_many, pour
from streams import Stream, StreamCase

MIB = 1 << 20
# More than before, that a gateway may hold while it is flooded: its limit of unfinished messages
# (32 MiB), what comes on a fast connection between two looks, and what malloc keeps.
MORE_MEMORY = 80 * MIB
MORE_DESCRIPTORS = 16
KEY = "sk-flood"
PROMPT = ("generate", "--prompt-tokens", "1,2,3", "--max-tokens", 8)
API = "/catena.v1.GenerationService/"
INSIDE = "/catena.v1.ClusterService/"


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class PublicPortCase(ErrorCase):
    """Has a file of one key."""

    def setUp(self):
        super().setUp()
        self.model = self.shared("stories260k-phi3")
        self.keys = self.temp_dir() / "keys"
        self.keys.write_text(KEY + "\n", encoding="ascii")
        self.want = self.text_of(*PROMPT, "--model", self.model)


class FloodTest(PublicPortCase):

    def assert_serves(self, cluster, *options):
        done = cluster.run(*PROMPT, *options)
        self.assertEqual((done.returncode, done.stdout.decode()), (0, self.want), cluster.log())

    @contextlib.contextmanager
    def flat(self, cluster, *options):
        """What is done within costs no memory and no descriptors that stay. Gives a function that
        looks at the memory now."""
        (pid,) = [p["pid"] for p in cluster.processes if p["role"] == "gateway"]
        self.assert_serves(cluster, *options)
        before, files = anonymous_memory(pid), descriptors(pid)

        def look():
            self.assertLess(anonymous_memory(pid) - before, MORE_MEMORY)

        yield look
        look()
        await_that(lambda: descriptors(pid) < files + MORE_DESCRIPTORS, "the descriptors are free")
        self.assert_serves(cluster, *options)

    def flood(self, cluster, *options, tls=None, **metadata):
        """Calls of each kind that announce much and do not end; others are served meanwhile."""
        for method in (API + "Generate", API + "Score", API + "ListModels", INSIDE + "GetStatus"):
            for calls, size, announced in ((60, 15 * MIB // 2, None), (1, 300 * MIB, 1 << 31)):
                with self.subTest(method=method, calls=calls, **metadata), \
                        self.flat(cluster, *options) as look, \
                        Flood(cluster.gateway, method, calls, size, announced, tls,
                              **metadata) as flood:
                    pour([flood], look)
                    self.assertLess(flood.sent, 4 * MORE_MEMORY)
                    self.assert_serves(cluster, *options)

    def test_calls_without_a_key_that_do_not_end(self):
        with Cluster(self, self.model, "--stages", 1, "--api-keys", self.keys) as cluster:
            self.flood(cluster, "--api-key", KEY)

    def test_calls_with_a_wrong_key_that_do_not_end(self):
        with Cluster(self, self.model, "--stages", 1, "--api-keys", self.keys) as cluster:
            self.flood(cluster, "--api-key", KEY, authorization="Bearer wrong")

    def test_calls_with_a_right_key_that_do_not_end(self):
        with Cluster(self, self.model, "--stages", 1, "--api-keys", self.keys,
                     "--operator-keys", self.keys) as cluster:
            self.flood(cluster, "--api-key", KEY, authorization="Bearer " + KEY)

    def test_calls_over_tls_that_do_not_end(self):
        need_openssl(self)
        files = TlsFiles(self.temp_dir(), Authority(self.temp_dir(), "authority"))
        with Cluster(self, self.model, "--stages", 1, *files.role_options, "--api-keys", self.keys,
                     client=("--tls-ca", files.authority)) as cluster:
            for key in ("Bearer wrong", "Bearer " + KEY):
                self.flood(cluster, "--api-key", KEY, tls=files.context(member=False),
                           authorization=key)

    def test_600_calls_on_many_connections_that_send_slowly_keep_nobody_out(self):
        with Cluster(self, self.model, "--stages", 1) as cluster, \
                self.flat(cluster) as look, contextlib.ExitStack() as held:
            floods = [held.enter_context(Flood(cluster.gateway, API + "Generate", 20, 1000))
                      for _ in range(30)]
            pour(floods, look)
            self.assertEqual([flood.ended for flood in floods], 30 * [0])
            self.assert_serves(cluster)

            def ended():
                pour(floods, look)
                return all(flood.ended == 20 for flood in floods)

            for flood in floods:
                flood.wait_for_end()
            await_that(ended, "calls whose messages do not come are ended")

    def test_huge_headers_end_their_call_and_cost_nothing(self):
        with Cluster(self, self.model, "--stages", 1) as cluster, self.flat(cluster):
            for size in (20_000, 1_000_000):
                block = b"".join(wire.header(f"x-{i}", "v" * 100) for i in range(size // 100))
                with wire.connect(cluster.gateway) as connection, \
                        contextlib.suppress(ConnectionError):
                    connection.sendall(wire.head_of_call(API + "ListModels"))
                    for _ in range(20):
                        for at in range(0, len(block), 16000):
                            connection.sendall(wire.frame(wire.HEADERS, 0, 3, block[at:at + 16000]))
                self.assert_serves(cluster)

    def test_more_connections_than_it_takes_are_closed_and_keep_nobody_out_for_good(self):
        with Cluster(self, self.model, "--stages", 1) as cluster, self.flat(cluster) as look:
            held = connect_many(cluster.gateway, 5000)
            look()
            for connection in held:
                connection.close()
            await_that(lambda: cluster.run(*PROMPT).returncode == 0, "it serves again")


class KeysTest(PublicPortCase):

    def is_let_in(self, cluster, key):
        done = cluster.run(*PROMPT, "--api-key", key)
        return done.returncode == 0

    def replace(self, text):
        new = self.keys.with_suffix(".new")
        new.write_text(text, encoding="ascii")
        new.replace(self.keys)

    def test_keys_of_a_changed_file_count_without_a_restart(self):
        with Cluster(self, self.model, "--stages", 1, "--api-keys", self.keys) as cluster:
            self.replace("sk-new\n")
            await_that(lambda: self.is_let_in(cluster, "sk-new"), "the new key counts")
            self.assertFalse(self.is_let_in(cluster, KEY))
            self.replace("two words\n")
            await_that(lambda: "still count" in cluster.log(), "the log says what is wrong")
            self.assertTrue(self.is_let_in(cluster, "sk-new"))

    def test_the_inside_is_for_operators_where_there_are_any(self):
        operators = self.temp_dir() / "operators"
        operators.write_text("op-1\n", encoding="ascii")
        with Cluster(self, self.model, "--stages", 1, "--api-keys", self.keys,
                     "--operator-keys", operators) as cluster:
            there = ("status", "--json", "--gateway", cluster.gateway)
            for options, name in (((), "--operator-key"), (("--operator-key", KEY), "operators")):
                self.assert_fails((*there, *options), name)
            for options in (("--operator-key", "op-1"), ("--operator-key-file", operators)):
                self.assertEqual(self.run_bytes(*there, *options).returncode, 0)
            env = {**os.environ, "CATENA_OPERATOR_KEY": "op-1"}
            self.assertEqual(self.run_bytes(*there, env=env).returncode, 0)
            self.assert_fails((*PROMPT, "--gateway", cluster.gateway, "--api-key", "op-1"))

    def test_the_inside_is_shown_to_nobody_where_there_are_api_keys_alone(self):
        with Cluster(self, self.model, "--stages", 1, "--api-keys", self.keys) as cluster:
            for command in (("status",), ("debug", "1")):
                self.assert_fails((*command, "--gateway", cluster.gateway, "--operator-key", KEY),
                                  "--operator-keys")


class StopTest(StreamCase):

    def test_streams_of_a_gateway_that_stops_end_with_a_reason_that_is_read(self):
        with Cluster(self, self.model) as cluster:
            streams = [Stream(self, cluster, "--wait-for-gateway", "1ms") for _ in range(8)]
            for stream in streams:
                stream.await_more()
            cluster.stop()
            for stream in streams:
                status, error = stream.end()
                self.assertEqual(status, 1)
                self.assertRegex(error, r"\Acatena: .*the gateway has stopped[^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main()
