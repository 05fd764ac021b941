"""A cluster of processes writes what one process writes, bit by bit, and is watched over."""

import json
import os
import signal
import subprocess
import unittest

from catena import COMMAND, F32, GOLDEN_MODELS, OWN_GOLDEN_MODELS, QUANTISED_MODELS, \
    TIMEOUT_S, CatenaTest, commas
from cluster import Cluster, await_that, children_of, is_running
from errors_test import ErrorCase
from same_bits import GREEDY, SameBitsCase, request

# Of the stages of stories260k-phi3, which has 5 blocks.
CUTS = (("--stages", 1), ("--stages", 2), ("--stages", 3), ("--stages", 5),
        ("--layers", "0-1,1-5"), ("--layers", "0-4,4-5"),
        ("--stages", 2, "--replicas", "1=2"), ("--stages", 2, "--replicas", "0=2,1=2"))


def peak_kib(pid):
    """The most resident memory that the process has had."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


class SameBitsTest(SameBitsCase):

    def test_stories_under_every_cut_and_with_replicas(self):
        model = self.shared("stories260k-phi3")
        requests = self.requests_for(*self.shape(model)[:2])
        want = self.alone(model, requests)
        for cut in CUTS:
            with self.subTest(cut=cut), Cluster(self, model, *cut) as cluster:
                self.assertEqual(self.through(cluster, requests), want)
                self.assertEqual(self.through(cluster, self.speculating(requests)), want)

    def test_32_clients_at_a_time_do_not_change_each_others_bits(self):
        model = self.shared("stories260k-phi3")
        requests = self.requests_for(*self.shape(model)[:2], count=32)
        want = self.alone(model, requests)
        for cut in (("--stages", 2), ("--stages", 2, "--replicas", "0=2,1=2")):
            with self.subTest(cut=cut), Cluster(self, model, *cut) as cluster:
                self.assertEqual(self.through(cluster, requests, clients=32), want)

    def test_golden_models(self):
        for name in GOLDEN_MODELS + OWN_GOLDEN_MODELS + QUANTISED_MODELS:
            model = self.golden(name)
            vocab, context, n_layers = self.shape(model)
            requests = self.requests_for(vocab, context)
            want = self.alone(model, requests, *F32)
            for stages in sorted({1, min(2, n_layers), min(3, n_layers), n_layers}):
                with self.subTest(model=name, stages=stages), \
                        Cluster(self, model, "--stages", stages, *F32) as cluster:
                    self.assertEqual(self.through(cluster, requests), want)
                    self.assertEqual(self.through(cluster, self.speculating(requests)), want)

    def test_default_model(self):
        model = self.smollm2()
        requests = self.texts_for_the_default_model()
        want = self.alone(model, requests)
        for cut in (("--stages", 1), ("--stages", 2), ("--stages", 3),
                    ("--layers", "0-1,1-29,29-30"), ("--stages", 2, "--replicas", "0=2")):
            with self.subTest(cut=cut), Cluster(self, model, *cut) as cluster:
                self.assertEqual(self.through(cluster, requests, clients=3), want)
                guessing = self.speculating(requests)
                self.assertEqual(self.through(cluster, guessing, clients=3), want)

    def test_default_model_with_a_shard_for_each_block(self):
        model = self.smollm2()
        requests = [request(range(100), *GREEDY), request([1], *GREEDY)]
        with Cluster(self, model, "--stages", 30, "--threads", 1) as cluster:
            self.assertEqual(len(cluster.processes), 33)
            self.assertEqual(self.through(cluster, requests, clients=2),
                             self.alone(model, requests))

    def test_what_is_computed_with_is_handed_on(self):
        model = self.shared("golden/llama-gqa-tied")  # bfloat16 weights
        requests = [request([5, 9, 33], *GREEDY)]
        bf16, int8 = ("--activations", "bf16"), ("--activations", "int8")
        want = self.alone(model, requests, *bf16)
        self.assertNotEqual(self.alone(model, requests, *int8), want)
        with Cluster(self, model, "--stages", 2, *bf16) as cluster:
            self.assertEqual(self.through(cluster, requests), want)

    def test_random_weights(self):
        model = self.shared("golden/phi3-window/config.json")
        weights = ("--weights", "random:3", "--weight-format", "q8_0")
        requests = [request([1, 2, 3], *GREEDY)]
        with Cluster(self, model, "--stages", 2, *weights) as cluster:
            self.assertEqual(self.through(cluster, requests),
                             self.alone(model, requests, *weights))


class MemoryTest(CatenaTest):

    def test_a_context_of_a_million_positions_costs_a_shard_no_memory(self):
        model = self.shared("reports/F22-context-1M")
        with Cluster(self, model, "--weights", "random:1", "--stages", 2) as cluster:
            for process in cluster.processes:
                if process["role"] == "shard":
                    self.assertLess(peak_kib(process["pid"]), 96 << 10, cluster.log())
            self.assertEqual(cluster.run("generate", "--prompt-tokens", "5,9,33").returncode, 0)


class SupervisionTest(CatenaTest):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")

    def generate(self, cluster, *options):
        done = cluster.run("generate", "--prompt-tokens", 1, "--json", *options)
        self.assertEqual(done.returncode, 0, done.stderr.decode() + cluster.log())
        return json.loads(done.stdout)["token_ids"]

    def test_ready_line_has_what_the_contract_says(self):
        with Cluster(self, self.model, "--layers", "0-2,2-5", "--replicas", "1=2") as cluster:
            self.assertEqual(list(cluster.ready), ["gateway", "processes"])
            self.assertRegex(cluster.gateway, r"^127\.0\.0\.1:\d+$")
            self.assertEqual(sorted((p["role"], p["layers"] or "") for p in cluster.processes),
                             [("gateway", ""), ("head", ""), ("shard", "0-1"), ("shard", "2-4"),
                              ("shard", "2-4"), ("tokenizer", "")])
            for process in cluster.processes:
                self.assertEqual(list(process), ["role", "layers", "address", "pid", "metrics"])
                self.assertTrue(is_running(process["pid"]))
            status = cluster.status()
            self.assertEqual({p["pid"] for p in status["processes"]},
                             {p["pid"] for p in cluster.processes})
            self.assertEqual({p["health"] for p in status["processes"]}, {"serving"})

    def test_each_role_that_is_killed_comes_back_and_writes_the_same(self):
        with Cluster(self, self.model) as cluster:
            want = self.generate(cluster)
            for victim in cluster.processes:
                with self.subTest(role=victim["role"], layers=victim["layers"]):
                    os.kill(victim["pid"], signal.SIGKILL)
                    await_that(lambda pid=victim["pid"]: cluster.has_replaced(pid),
                               "the cluster is ready with another in its place")
                    self.assertEqual(self.generate(cluster), want)
            pids = {p["pid"] for p in cluster.status()["processes"]}
            self.assertFalse(pids & {p["pid"] for p in cluster.processes})
            self.assertEqual(cluster.status()["gateway"], cluster.gateway)
            self.assertEqual(cluster.log().count("killed by signal 9"), len(cluster.processes))

    def test_a_stopped_shard_is_missed_by_its_blocks_until_it_goes_on(self):
        with Cluster(self, self.model, "--layers", "0-2,2-5",
                     "--wait-for-route", "1s") as cluster:
            want = self.generate(cluster)
            (pid,) = cluster.pids("shard", "2-4")
            os.kill(pid, signal.SIGSTOP)
            try:
                await_that(lambda: not cluster.is_ready(), "the cluster is not ready")
                done = cluster.run("status")
                self.assertEqual(done.returncode, 1)
                for output in (done.stdout, done.stderr):
                    self.assertIn("[2, 5)", output.decode())
                done = cluster.run("generate", "--prompt-tokens", 1)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("[2, 5)", done.stderr.decode())
            finally:
                os.kill(pid, signal.SIGCONT)
            await_that(cluster.is_ready, "the cluster is ready again")
            self.assertEqual(self.generate(cluster), want)

    def test_up_ends_while_a_stream_runs_and_the_client_is_told(self):
        with Cluster(self, self.model) as cluster:
            client = subprocess.Popen(
                [COMMAND, "generate", "--gateway", cluster.gateway, "--prompt-tokens", "1",
                 "--ignore-eos", "--max-tokens", "500"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            client.stdout.read(1)
            cluster.stop()
            _, error = client.communicate(timeout=TIMEOUT_S)
            if client.returncode != 0:  # it may have got all its tokens before
                self.assertRegex(error.decode(), r"\Acatena: [^\n]+\n\Z")

    def test_children_die_with_an_up_that_is_killed(self):
        cluster = Cluster(self, self.model)
        children = children_of(cluster.process.pid)
        self.assertEqual(len(children), 5)
        cluster.kill()
        await_that(lambda: not any(map(is_running, children)), "no process is left")

    def test_sigterm_and_an_interrupt_before_it_is_ready_end_it_too(self):
        with Cluster(self, self.model) as cluster:
            cluster.stop(by=signal.SIGTERM)
        up = subprocess.Popen([COMMAND, "up", "--model", self.model], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        await_that(lambda: len(children_of(up.pid)) > 0, "processes were started")
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=TIMEOUT_S)
        self.assertEqual(up.returncode, 0)

    def test_table_names_each_process_and_how_to_go_on(self):
        up = subprocess.Popen([COMMAND, "up", "--model", self.model], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
        lines = iter(up.stdout.readline, "")
        table = []
        while not table or "Ctrl-C" not in table[-1]:
            table.append(next(lines))
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=TIMEOUT_S)
        for name in ("gateway", "tokenizer", "shard 0", "shard 1", "head",
                     "catena generate --gateway 127.0.0.1:"):
            self.assertIn(name, "".join(table))

    def test_debug_shows_a_sequence_at_each_stage_or_says_that_there_is_none(self):
        with Cluster(self, self.model) as cluster:
            done = cluster.run("debug", "nonsense")
            self.assertEqual(done.returncode, 2)
            done = cluster.run("debug", "0123456789abcdef")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr.decode(), r"\Acatena: [^\n]+\n\Z")


class ErrorsTest(ErrorCase):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")

    def test_up_that_cannot_start_says_why_in_one_line(self):
        for options, name in ((("--stages", "9"), "1 to 5"), (("--layers", "0-3"), "--layers"),
                              (("--replicas", "2=1"), "--replicas"),
                              (("--replicas", "0"), "--replicas"),
                              (("--replicas", "gateway=2"), "head or tokenizer"),
                              (("--threads", "0"), "--threads"),
                              (("--listen", "nonsense"), "--listen"),
                              (("--kv-memory", "nonsense"), "--kv-memory")):
            with self.subTest(options=options):
                self.assert_fails(("up", "--model", self.model, *options), name)
        self.assert_fails(("up", "--model", self.temp_dir() / "absent"), "absent")
        self.assert_fails(("up",), "--model")

    def test_what_a_role_refuses_ends_up_with_the_roles_error(self):
        done = self.run_bytes("up", "--model", self.model, "--api-keys", "/absent", "--json")
        self.assertEqual(done.stdout, b"")
        self.assertGreater(done.returncode, 0)
        last = done.stderr.decode().splitlines()[-1]  # after what roles that had started said
        self.assertRegex(last, r"\Acatena: gateway: .*/absent")

    def test_up_on_damaged_weights_names_the_tensor(self):
        folder = self.copy_of("stories260k-phi3")
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        self.assert_fails(("up", "--model", folder), "model.safetensors")

    def test_no_gateway_there(self):
        with Cluster(self, self.model) as cluster:
            gateway = cluster.gateway
        for command in (("status",), ("debug", "0123456789abcdef"), ("bench", "serve"),
                        ("generate", "--prompt-tokens", "1")):
            self.assert_fails((*command, "--gateway", gateway), gateway)

    def test_bad_requests_are_refused_and_the_cluster_goes_on(self):
        bad = ((("--prompt-tokens", "512"), "512"),
               (("--prompt-tokens", commas([1] * 2000)), "context"),
               (("--prompt-tokens", "1", "--temperature", "-1"), "temperature"),
               (("--prompt-tokens", "1", "--top-p", "2"), "top-p"),
               (("--prompt-tokens", "1", "--max-tokens", "0"), "max-tokens"),
               (("--prompt-tokens", "1", "--n", "1000000"), "n"),
               (("--prompt-tokens", "1", "--logit-bias", "9999=1"), "9999"),
               (("--prompt", "x", "--chat"), "chat template"))
        with Cluster(self, self.model) as cluster:
            for options, name in bad:
                with self.subTest(options=options[:4]):
                    line = self.assert_fails(
                        ("generate", "--gateway", cluster.gateway, *options))
                    self.assertIn(name.replace("-", "_"), line.replace("-", "_"))
            self.assertEqual(cluster.run("generate", "--prompt-tokens", 1).returncode, 0)


if __name__ == "__main__":
    unittest.main()
