"""What strangers send to a port, or do not send, neither ends a process nor keeps others out."""

import contextlib
import random
import ssl
import unittest

import wire
from certificates import Authority, TlsFiles, need_openssl
from cluster import Cluster, anonymous_memory, await_that
from errors_test import ErrorCase

IDLE = 200  # connections to one port
MIB = 1 << 20
MORE_MEMORY = 32 * MIB  # than before, that a process may hold while all of them are open

NOISE = random.Random(1).randbytes(1 << 16)
LINK = wire.head_of_call("/catena.v1.ChainService/Link")
BAD = {
    "nothing": b"",
    "zeros": b"\0" * 1000,
    "noise": NOISE,
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: catena\r\n\r\n",
    "half a preface": wire.PREFACE[:12],
    "a preface and noise": wire.PREFACE + NOISE,
    "a frame of 16 MiB": wire.PREFACE + b"\xff\xff\xff\0\0\0\0\0\1" + NOISE,
    "half a frame": LINK[:-5],
    "headers without end": wire.PREFACE + wire.frame(
        wire.HEADERS, 0, 1, wire.header("a", "b" * 100)) * 100,
    "a message that is longer than it says": LINK + wire.frame(
        wire.DATA, 0, 1, b"\0\xff\xff\xff\xff" + NOISE[:8000]),
    "a link that says no hello": LINK + wire.message(NOISE[:8000]),
    "a link that says nothing": LINK,
    "a hello of TLS that stops": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
PROMPT = ("generate", "--prompt-tokens", "1,2,3", "--ignore-eos", "--max-tokens", 40)


class HostileTest(ErrorCase):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")
        self.want = self.text_of(*PROMPT, "--model", self.model)

    def assert_serves(self, cluster):
        done = cluster.run(*PROMPT)
        self.assertEqual((done.returncode, done.stdout.decode()), (0, self.want), cluster.log())

    @contextlib.contextmanager
    def unharmed(self, cluster):
        """In the end the processes are those from before, and hold little more memory."""
        self.assert_serves(cluster)
        before = {p["pid"]: anonymous_memory(p["pid"]) for p in cluster.processes}
        yield
        self.assert_serves(cluster)
        self.assertEqual({p["pid"] for p in cluster.status()["processes"]}, set(before))
        for process in cluster.processes:
            more = anonymous_memory(process["pid"]) - before[process["pid"]]
            self.assertLess(more, MORE_MEMORY, process["role"])

    def flood(self, cluster, tls=None):
        """Everything that is bad, and connections that say nothing, to each port; all stay open."""
        with contextlib.ExitStack() as open_connections, self.unharmed(cluster):
            for process in cluster.processes:
                for what in [*BAD.values(), *IDLE * [b""]]:
                    connection = wire.connect(process["address"])
                    open_connections.enter_context(connection)
                    with contextlib.suppress(ConnectionError):
                        connection.sendall(what)
                for what in BAD.values() if tls else ():
                    connection = wire.connect(process["address"], tls)
                    open_connections.enter_context(connection)
                    with contextlib.suppress(ConnectionError, ssl.SSLError):
                        connection.sendall(what)
        await_that(cluster.is_ready, "the cluster is ready")

    def test_bad_bytes_and_idle_connections_harm_nobody(self):
        with Cluster(self, self.model) as cluster:
            self.flood(cluster)

    def test_bad_bytes_and_idle_connections_harm_nobody_who_speaks_tls(self):
        need_openssl(self)
        files = TlsFiles(self.temp_dir(), Authority(self.temp_dir(), "authority"))
        with Cluster(self, self.model, *files.role_options,
                     client=("--tls-ca", files.authority)) as cluster:
            self.flood(cluster, files.context())

    def test_a_link_that_says_no_hello_is_refused(self):
        with Cluster(self, self.model) as cluster:
            for role in ("shard", "head"):
                for request in (b"", NOISE[:8000]):
                    with self.subTest(role=role, request=request[:8]), \
                            wire.connect(cluster.address(role)) as connection:
                        code = wire.Call(connection, "/catena.v1.ChainService/Link", request).end()
                        self.assertEqual(code, wire.INVALID_ARGUMENT)


if __name__ == "__main__":
    unittest.main()
