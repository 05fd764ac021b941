"""A cluster whose roles speak TLS with each other writes what one process writes, talks only with
whom it should, and takes renewed certificates as it runs."""

import os
import signal
import ssl
import subprocess
import time
import unittest

import wire
from catena import COMMAND, F32, TIMEOUT_S
from certificates import Authority, TlsFiles, need_openssl
from cluster import Cluster, await_that
from errors_test import ErrorCase
from same_bits import SameBitsCase
from streams import Stream, StreamCase

# Of the stages of stories260k-phi3, which has 5 blocks.
CUTS = (("--stages", 1), ("--stages", 5), ("--stages", 2, "--replicas", "0=2,1=2"))
QUICK_S = 5  # a command that is not let in ends so soon


class TlsCase(ErrorCase):
    """Has an authority, the files of its members, and an authority that nobody knows."""

    def setUp(self):
        super().setUp()
        need_openssl(self)
        self.authority = Authority(self.temp_dir(), "authority")
        self.files = TlsFiles(self.temp_dir(), self.authority)
        self.foreign = Authority(self.temp_dir(), "foreign")
        self.strangers = TlsFiles(self.temp_dir(), self.foreign)

    def cluster(self, model, *options):
        return Cluster(self, model, *self.files.role_options, *options,
                       client=("--tls-ca", self.files.authority))


class SameBitsTest(TlsCase, SameBitsCase):

    def test_stories_under_several_cuts_and_32_clients_at_a_time(self):
        model = self.shared("stories260k-phi3")
        requests = self.requests_for(*self.shape(model)[:2], count=32)
        want = self.alone(model, requests)
        for cut in CUTS:
            with self.subTest(cut=cut), self.cluster(model, *cut) as cluster:
                self.assertEqual(self.through(cluster, requests[:4]), want[:4])
                self.assertEqual(self.through(cluster, requests, clients=32), want)

    def test_golden_model(self):
        model = self.shared("golden/phi3-window")
        requests = self.requests_for(*self.shape(model)[:2])
        want = self.alone(model, requests, *F32)
        with self.cluster(model, *F32) as cluster:
            self.assertEqual(self.through(cluster, requests), want)

    def test_default_model(self):
        model = self.smollm2()
        requests = self.texts_for_the_default_model()
        want = self.alone(model, requests)
        with self.cluster(model) as cluster:
            self.assertEqual(self.through(cluster, requests), want)


class StrangersTest(TlsCase):

    def setUp(self):
        super().setUp()
        self.model = self.shared("stories260k-phi3")

    def stranger(self):
        """For a connection that trusts the cluster, and that the cluster should not trust."""
        context = self.strangers.context()
        context.load_verify_locations(self.files.authority)
        return context

    def refused(self, *args):
        """The last line of a command that must soon fail and print nothing else of its own."""
        start = time.monotonic()
        done = self.run_bytes(*args, stdin=b"Hi\n")
        self.assertLess(time.monotonic() - start, QUICK_S)
        self.assertIn(done.returncode, (1, 2))
        self.assertEqual(done.stdout, b"")
        return done.stderr.decode().splitlines()[-1]

    def distrustful(self):
        """Options of clients that a cluster with TLS and they themselves should not trust."""
        return (), ("--tls-ca", self.foreign.certificate), self.strangers.role_options

    def test_a_client_that_does_not_fit_is_refused_at_once_and_the_cluster_goes_on(self):
        with self.cluster(self.model) as cluster:
            for command in (("generate", "--prompt-tokens", 1), ("chat",), ("status",),
                            ("debug", "0123456789abcdef"), ("bench", "serve")):
                for options in self.distrustful():
                    with self.subTest(command=command[0], options=options[::2]):
                        line = self.refused(*command, "--gateway", cluster.gateway, *options)
                        self.assertRegex(line, f"\\Acatena: .*{cluster.gateway}")
            self.assertTrue(cluster.is_ready())

    def test_a_client_that_does_not_fit_is_told_so_in_one_line(self):
        with self.cluster(self.model) as cluster:
            for options in self.distrustful():
                with self.subTest(options=options[::2]):
                    self.assert_fails(("status", "--gateway", cluster.gateway, *options))

    def test_a_client_that_does_not_fit_is_told_which_option_to_give(self):
        with self.cluster(self.model) as cluster, Cluster(self, self.model) as plain:
            for gateway, options in (*((cluster.gateway, o) for o in self.distrustful()),
                                     (plain.gateway, ("--tls-ca", self.files.authority))):
                with self.subTest(options=options[::2], tls=gateway == cluster.gateway):
                    line = self.refused("status", "--gateway", gateway, *options)
                    self.assertRegex(line, "TLS.*--tls-ca")
            self.assertTrue(plain.is_ready())

    def test_a_gateway_with_an_authority_alone_would_be_public_without_tls(self):
        stages = ("--tokenizer", "a:1", "--shard", "a:1", "--head", "a:1")
        self.assert_fails(("gateway", *stages, "--tls-ca", self.files.authority), "--tls-cert")

    def test_a_client_takes_no_other_members_certificate_for_the_gateways(self):
        files = TlsFiles(self.temp_dir(), self.authority, names="DNS:gateway.example")
        client = ("--tls-ca", files.authority)
        with Cluster(self, self.model, *files.role_options,
                     client=(*client, "--tls-server-name", "gateway.example")) as cluster:
            self.assertTrue(cluster.is_ready())
            line = self.refused("status", "--gateway", cluster.gateway, *client)
            self.assertRegex(line, "certificate.*--tls-server-name")

    def test_a_set_of_tls_files_that_lacks_one_is_refused_at_once(self):
        certificate, key, authority = (self.files.role_options[i:i + 2] for i in (0, 2, 4))
        for options, name in ((certificate + authority, "no key"), (key + authority,
                              "no certificate"), (authority, "certificate"),
                              (certificate + key, "authority")):
            with self.subTest(options=options[::2]):
                done = self.run_bytes("up", "--model", self.model, "--json", *options)
                self.assertEqual((done.returncode > 0, done.stdout), (True, b""))
                last = done.stderr.decode().splitlines()[-1]
                self.assertRegex(last, f"\\Acatena: .*TLS.*{name}")

    def test_the_gateway_asks_its_clients_for_no_certificate(self):
        with self.cluster(self.model) as cluster:
            self.assertTrue(wire.is_serving(cluster.gateway, self.files.context(member=False)))
            self.assertTrue(wire.is_serving(cluster.gateway, self.stranger()))

    def test_internal_services_take_members_only(self):
        with self.cluster(self.model) as cluster:
            for process in cluster.processes:
                if process["role"] == "gateway":
                    continue
                address = process["address"]
                with self.subTest(role=process["role"]):
                    self.assertTrue(wire.is_serving(address, self.files.context()))
                    for tls in (None, self.files.context(member=False), self.stranger()):
                        self.assertIsNone(wire.is_serving(address, tls))
                for command in (("status",), ("debug", "0123456789abcdef")):
                    there = (*command, "--gateway", address)
                    for options in ((), ("--tls-ca", self.files.authority)):
                        self.assertIn("cannot reach", self.refused(*there, *options))
                    self.assertIn("is not the gateway",
                                  self.refused(*there, *self.files.role_options))
            self.assertTrue(cluster.is_ready())

    def test_status_and_debug_of_a_cluster_with_tls_say_what_they_say_without(self):
        with self.cluster(self.model) as cluster:
            self.assertEqual({p["health"] for p in cluster.status()["processes"]}, {"serving"})
            self.assert_fails(("debug", "0123456789abcdef", "--gateway", cluster.gateway,
                               *cluster.client), "0123456789abcdef")

    def test_a_gateway_of_another_authority_reaches_nobody_and_says_why(self):
        address = f"unix:{self.temp_dir()}/gateway"
        with self.cluster(self.model) as cluster:
            found = [f"--{p['role']}={p['address']}" for p in cluster.processes
                     if p["role"] != "gateway"]
            gateway = subprocess.Popen(
                [COMMAND, "gateway", "--listen", address, *found,
                 *map(str, self.strangers.role_options)], stderr=subprocess.DEVNULL)
            try:
                ask = ("status", "--gateway", address, "--tls-ca", self.strangers.authority)
                await_that(lambda: b"andshake" in self.run_bytes(*ask).stdout,
                           "status names the handshake")
                self.assertEqual(self.run_bytes(*ask).returncode, 1)
            finally:
                gateway.terminate()
                gateway.wait(TIMEOUT_S)
            self.assertTrue(cluster.is_ready())


class RenewalTest(TlsCase, StreamCase):

    def presents(self, address, context):
        """Whether a new connection sees the certificate that lies there now."""
        try:
            with wire.connect(address, context) as connection:
                return connection.getpeercert(binary_form=True) == self.files.der()
        except ssl.SSLError:
            return False

    def await_renewed(self, cluster, stream):
        """Until each process has the new files, which it looks for every ten seconds."""
        context = self.files.context()
        for process in cluster.processes:
            def is_renewed(address=process["address"]):
                stream.await_more()
                return self.presents(address, context)
            await_that(is_renewed, f"the {process['role']} has the new certificate")

    def assert_used_without_a_restart(self, authority):
        with self.cluster(self.model) as cluster:
            stream = Stream(self, cluster)
            self.files.renew(authority)
            self.await_renewed(cluster, stream)
            self.assert_moves(stream)
            self.assertEqual(cluster.run("generate", "--prompt-tokens", 1).returncode, 0)
            pids = {p["pid"] for p in cluster.status()["processes"]}
            self.assertEqual(pids, {p["pid"] for p in cluster.processes})
            # One that starts now meets the others with the new files only.
            (pid,) = cluster.pids("head")
            os.kill(pid, signal.SIGKILL)
            await_that(lambda: cluster.has_replaced(pid), "the cluster is ready with a new head")
            self.assertEqual(cluster.run("generate", "--prompt-tokens", 1).returncode, 0)

    def test_a_renewed_certificate_is_used_without_a_restart(self):
        self.assert_used_without_a_restart(self.authority)

    def test_a_certificate_of_a_new_authority_is_used_without_a_restart(self):
        self.assert_used_without_a_restart(self.foreign)


if __name__ == "__main__":
    unittest.main()
