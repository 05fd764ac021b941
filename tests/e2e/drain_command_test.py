"""`catena drain` ends a process as SIGTERM does, from anywhere, for operators alone, and says how
that went. Under `up` what was drained stays out."""

import contextlib
import json
import time
import unittest

from by_hand import Role
from catena import CatenaTest
from certificates import Authority, TlsFiles, need_openssl
from cluster import Cluster, await_that, is_running
from streams import Stream, StreamCase

GRACE_S = 3  # the longest that `up` gives


class Reached:
    """A gateway as a Stream reaches it."""
    client = ()

    def __init__(self, gateway):
        self.gateway = gateway


class DrainCommandTest(StreamCase):

    def addresses(self, cluster, role, layers=None):
        return [p["address"] for p in cluster.processes
                if p["role"] == role and p["layers"] in (layers, None)]

    def test_what_runs_moves_to_another_and_the_process_stays_out(self):
        with Cluster(self, self.model, "--layers", "0-2,2-5", "--replicas", "1=2", "--grace",
                     GRACE_S) as cluster:
            streams = [Stream(self, cluster) for _ in range(4)]
            for stream in streams:
                stream.await_more()
            (address, other) = self.addresses(cluster, "shard", "2-4")
            (pid, other_pid) = cluster.pids("shard", "2-4")
            began = time.monotonic()
            done = cluster.run("drain", address)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertLess(time.monotonic() - began, GRACE_S)
            lines = done.stdout.decode().splitlines()
            self.assertEqual(lines[-1], f"shard 2-4 at {address} ends with 0 sequences left")
            await_that(lambda: not is_running(pid), "the process has ended")
            await_that(lambda: "was drained and ended with exit status 0" in cluster.log(),
                       "`up` says that it was drained")
            self.assertNotIn("started again", cluster.log())
            health = {p["address"]: p["health"] for p in cluster.status()["processes"]}
            self.assertEqual((health[address], health[other]), ("unreachable", "serving"))
            self.assertTrue(cluster.is_ready())
            for stream in streams:
                self.assert_moves(stream)
            self.assertTrue(is_running(other_pid))

    def test_the_last_of_its_kind_says_what_is_left_and_the_next_one_goes_on(self):
        with Cluster(self, self.model, "--stages", 1, "--grace", GRACE_S) as cluster, \
                contextlib.ExitStack() as roles:
            stream = Stream(self, cluster)
            stream.await_more()
            (address,) = self.addresses(cluster, "shard", "0-4")
            (pid,) = cluster.pids("shard")
            done = cluster.run("drain", address, "--timeout", "500ms")
            self.assertEqual(done.returncode, 1)
            self.assertIn("still runs after 500ms, with 1 sequence left", done.stderr.decode())
            self.assertTrue(is_running(pid))
            stream.await_more()  # it has its grace
            done = cluster.run("drain", address, "--json")  # which goes on watching
            self.assertEqual(done.returncode, 1)
            self.assertIn("has ended with 1 sequence left that no other replica could take",
                          done.stderr.decode())
            last = json.loads(done.stdout.decode().splitlines()[-1])
            self.assertEqual((last["role"], last["layers"], last["address"], last["pid"],
                              last["left"], last["ended"]),
                             ("shard", "0-4", address, pid, 1, True))
            await_that(lambda: not is_running(pid), "the process has ended")
            roles.enter_context(
                Role("shard", "--model", self.model, "--listen", address, "--grace", 0))
            self.assert_moves(stream)

    def test_texts_move_to_another_tokenizer_and_it_has_nothing_left(self):
        with Cluster(self, self.model) as cluster, \
                Role("tokenizer", "--model", self.model) as one, \
                Role("tokenizer", "--model", self.model) as other:
            options = ["--tokenizer", f"{one.address},{other.address}"]
            for process in cluster.processes:
                if process["role"] in ("shard", "head"):
                    options += ["--" + process["role"], process["address"]]
            with Role("gateway", *options) as gateway:
                streams = [Stream(self, Reached(gateway.address)) for _ in range(4)]
                for stream in streams:
                    stream.await_more()
                done = self.run_bytes("drain", one.address, "--gateway", gateway.address)
                self.assertEqual((done.returncode, done.stderr), (0, b""))
                self.assertRegex(done.stdout.decode(), "with [1-9] texts? left(.|\n)*with 0 texts")
                for stream in streams:
                    self.assert_moves(stream)

    def test_each_role_is_drained_at_its_own_address(self):
        with Cluster(self, self.model, "--stages", 1) as cluster:
            for role in ("tokenizer", "shard", "head", "gateway"):
                with self.subTest(role=role):
                    (process,) = [p for p in cluster.processes if p["role"] == role]
                    done = self.run_bytes("drain", process["address"])
                    self.assertEqual((done.returncode, done.stderr), (0, b""))
                    self.assertIn("ends with 0 ", done.stdout.decode())
                    await_that(lambda: not is_running(process["pid"]), "it has ended")
            await_that(lambda: not is_running(cluster.process.pid), "nothing is left to watch over")

    def test_a_gateway_that_is_its_own_address_drains_itself(self):
        with Cluster(self, self.model, "--stages", 1) as cluster:
            (pid,) = cluster.pids("gateway")
            done = cluster.run("drain", cluster.gateway)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            await_that(lambda: not is_running(pid), "it has ended")


class DrainRefusedTest(CatenaTest):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")

    def refused(self, done, what):
        """It failed with one line that says so."""
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertRegex(done.stderr.decode(), rf"^catena: .*{what}.*\n$")

    def test_a_wrong_address_says_so(self):
        with Cluster(self, self.model) as cluster:
            self.refused(cluster.run("drain", "127.0.0.1:1"), "knows no replica at .*127.0.0.1:1")
            self.refused(self.run_bytes("drain", "127.0.0.1:1"), "cannot reach .*127.0.0.1:1")
            self.refused(self.run_bytes("drain", "x:1", "--gateway", "127.0.0.1:1"),
                         "cannot reach the gateway")
            self.assertTrue(cluster.is_ready())
        self.assertEqual(self.run_bytes("drain", "nonsense").returncode, 2)

    def test_operators_alone_may_ask_a_gateway(self):
        keys = self.temp_dir() / "keys"
        keys.write_text("operator\n", encoding="ascii")
        users = self.temp_dir() / "users"
        users.write_text("user\n", encoding="ascii")
        with Cluster(self, self.model, "--operator-keys", keys, "--api-keys", users,
                     client=("--operator-key", "operator")) as cluster:
            pids = cluster.pids("shard")
            for address in ([p["address"] for p in cluster.processes] + ["nowhere:1"]):
                for key, why in (((), "key"), (("--operator-key", "user"), "key")):
                    self.refused(
                        self.run_bytes("drain", address, "--gateway", cluster.gateway, *key), why)
            self.assertEqual(cluster.pids("shard"), pids)
            self.assertTrue(cluster.is_ready())
            self.assertEqual(cluster.run("drain", cluster.address("head")).returncode, 0)
        with Cluster(self, self.model, "--api-keys", users) as cluster:
            self.refused(cluster.run("drain", cluster.address("head")), "--operator-keys")

    def test_with_tls_members_alone_may_ask_a_replica(self):
        need_openssl(self)
        folder = self.temp_dir()
        authority = Authority(folder, "authority")
        (folder / "own").mkdir()
        own = TlsFiles(folder / "own", authority, "DNS:member.internal")
        (folder / "other").mkdir()
        other = TlsFiles(folder / "other", Authority(folder, "stranger"))
        with Role("tokenizer", "--model", self.model, *own.role_options) as role:
            for options in ((), ("--tls-ca", own.authority),
                            ("--tls-ca", own.authority, "--tls-cert", other.certificate,
                             "--tls-key", other.key)):
                self.refused(self.run_bytes("drain", role.address, "--timeout", "5s", *options),
                             "the process at")
                self.assertTrue(is_running(role.pid))
            done = self.run_bytes("drain", role.address, *own.role_options)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            await_that(lambda: not is_running(role.pid), "it has ended")

    def test_a_gateway_with_tls_asks_replicas_as_a_member(self):
        need_openssl(self)
        folder = self.temp_dir()
        files = TlsFiles(folder, Authority(folder, "authority"))
        with Cluster(self, self.model, *files.role_options,
                     client=("--tls-ca", files.authority)) as cluster:
            (pid,) = cluster.pids("head")
            done = cluster.run("drain", cluster.address("head"))
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            await_that(lambda: not is_running(pid), "it has ended")


if __name__ == "__main__":
    unittest.main()
