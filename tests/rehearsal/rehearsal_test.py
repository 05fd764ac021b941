"""Clusters of k8s/overlays without Kubernetes: each container's exact command line in a network
namespace, behind a name server and policies as a cluster has them, probed and kept as the kubelet
would, under load while it is scaled, rolled, drained, and while things break.

Nothing may fail, and no text differ, as long as there is another replica or one comes soon.

CATENA               the command (build/release/bin/catena of this checkout)
CATENA_SMOLLM2_GGUF  the default model
"""

import concurrent.futures
import json
import os
import random
import re
import signal
import subprocess
import threading
import unittest
import urllib.request

import reach
from kubelet import Workload, wait_for
from manifests import COMMAND, rendered, workloads
from node import Node, why_impossible

MODEL = os.environ.get("CATENA_SMOLLM2_GGUF", "")
CLIENTS = 3
MAX_TOKENS = 24
PROMPTS = ("The capital of France is", "A distributed system is one in which",
           "Once upon a time", "To be or not to be")
TIMEOUT_S = 120


def generate(*options):
    done = subprocess.run(
        [COMMAND, "generate", "--max-tokens", str(MAX_TOKENS), "--temperature", "0", "--json",
         *options], check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        return None, done.stderr.strip()
    return json.loads(done.stdout)["token_ids"], ""


class Load:
    """Clients that ask ready gateways, one request after the other, for as long as it is open."""

    def __init__(self, test, gateways, want, options):
        self.test, self.gateways, self.want, self.options = test, gateways, want, options
        self.served, self.failures, self.altered = 0, [], []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(i,)) for i in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.await_served(CLIENTS)
        return self

    def __exit__(self, *_):
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def await_served(self, more):
        """Until so many more have been served."""
        goal = self.served + more
        wait_for(lambda: self.served >= goal, f"{more} more are served: {self.failures[-3:]}")

    def check(self):
        """That nothing was lost or altered."""
        self.test.assertEqual(self.altered, [])
        self.test.assertEqual(self.failures, [])
        codes = {code for kept in self.gateways.kept for code in self._codes(kept.pod)}
        self.test.assertEqual(codes, {"OK"})

    @staticmethod
    def _codes(gateway):
        with urllib.request.urlopen(f"http://{gateway.ip}:7080/metrics", timeout=10) as page:
            return re.findall(r'catena_gateway_requests_total{[^}]*code="(\w+)"',
                              page.read().decode())

    def _ask_on(self, seed):
        chosen = random.Random(seed)
        while not self._closed.is_set():
            prompt = chosen.choice(PROMPTS)
            ready = self.gateways.ready()
            if not ready:
                self._closed.wait(0.1)
                continue
            address = f"{chosen.choice(ready).pod.ip}:7000"
            ids, error = generate("--gateway", address, "--prompt", prompt, *self.options)
            with self._lock:
                if error:
                    self.failures.append(error)
                elif ids != self.want[prompt]:
                    self.altered.append((prompt, ids))
                else:
                    self.served += 1


class Rehearsal(unittest.TestCase):
    """A test of an overlay's processes, one replica of each."""
    maxDiff = None
    overlay = "overlays/cpu-demo"

    def setUp(self):
        why = why_impossible() or (None if os.path.exists(MODEL) else "no default model")
        if why and os.environ.get("CI") == "true":
            self.fail(why)
        if why:
            self.skipTest(why)
        self.objects = rendered(self.overlay)
        pods = [p for p in workloads(self.objects) if p.role]
        self.model_path = pods[-1].flags["--model"]
        self.want = {p: generate("--model", MODEL, "--prompt", p)[0] for p in PROMPTS}
        self.node = Node(self.objects, self.model_path, MODEL)
        self.addCleanup(self.node.__exit__)
        self.workloads = {p.owner["metadata"]["name"]: Workload(self.node, p) for p in pods}
        self.addCleanup(self.end_all)
        # In no order: each waits for the others by itself.
        for workload in random.sample(list(self.workloads.values()), len(self.workloads)):
            workload.scale(1)
        self.await_settled()

    def end_all(self):
        if not all(self._outcome_is_good()):
            for pod in self.node.pods:
                print(f"--- {pod.name}\n{pod.log()[-2000:]}")
        for workload in self.workloads.values():
            for kept in workload.kept:
                kept.terminate()
        self.node.end()
        for workload in self.workloads.values():
            for kept in workload.kept + workload.ended:
                kept.await_gone()

    def _outcome_is_good(self):
        result = self._outcome.result
        yield all(test is not self for test, _ in result.failures + result.errors)

    def await_settled(self):
        for workload in self.workloads.values():
            workload.await_settled()

    def scale_to_two(self, names):
        for name in names:
            self.workloads[name].scale(2)
        self.await_settled()
        shards = sum(len(w.kept) for w in self.workloads.values() if w.of.role == "shard")
        wait_for(lambda: len(self.replicas("shard")) == shards, "the gateway has found them")

    def load(self):
        return Load(self, self.workloads["catena-gateway"], self.want, self.client_options())

    def client_options(self):
        return ()

    def replicas(self, role):
        """How many of a role a gateway knows and can use."""
        (gateway, *_) = self.workloads["catena-gateway"].ready()
        done = subprocess.run(
            ["ip", "netns", "exec", gateway.pod.space, COMMAND, "status", "--json", "--gateway",
             "127.0.0.1:7000"], check=False, capture_output=True, text=True)
        found = json.loads(done.stdout)["processes"] if done.stdout else []
        return [p["address"] for p in found if p["role"] == role]

    def exits(self):
        return {k.pod.name: k.exit_status for w in self.workloads.values() for k in w.ended}


class DemoTest(Rehearsal):

    def test_a_stage_is_scaled_out_and_in_and_all_are_rolled(self):
        stage = self.workloads["catena-stage-1"]
        with self.load() as load:
            stage.scale(3)
            stage.await_settled()
            wait_for(lambda: len(self.replicas("shard")) == 4, "the gateway has found them")
            load.await_served(4 * CLIENTS)
            stage.scale(1)
            stage.await_settled()
            load.await_served(2 * CLIENTS)
            rolls = [threading.Thread(target=w.roll) for w in self.workloads.values()]
            for roll in rolls:
                roll.start()
            for roll in rolls:
                roll.join()
            self.await_settled()
            load.await_served(2 * CLIENTS)
        load.check()
        self.assertEqual(set(self.exits().values()), {0}, self.exits())
        self.assertEqual(len(self.exits()), 2 + len(self.workloads))

    def test_a_node_is_drained(self):
        self.scale_to_two(self.workloads)
        with self.load() as load:
            # Half of the pods are evicted at once, which their budgets let happen; each workload
            # starts others at once.
            for workload in self.workloads.values():
                workload.begin_end(workload.kept[0])
                workload.add()
            self.await_settled()
            load.await_served(2 * CLIENTS)
        load.check()
        self.assertEqual(set(self.exits().values()), {0}, self.exits())

    def test_of_two_replicas_one_is_killed_and_comes_back(self):
        names = ("catena-stage-0", "catena-head", "catena-tokenizer")
        self.scale_to_two(names)
        with self.load() as load:
            for name in names:
                (kept, _) = self.workloads[name].kept
                kept.pod.signal(signal.SIGKILL)
                wait_for(lambda kept=kept: kept.restarts == 1, f"{name} is started again")
                load.await_served(CLIENTS)
                self.await_settled()
        load.check()

    def test_a_frozen_stage_is_killed_by_its_probe(self):
        self.scale_to_two(["catena-stage-1"])
        (kept, _) = self.workloads["catena-stage-1"].kept
        with self.load() as load:
            kept.pod.signal(signal.SIGSTOP)
            wait_for(lambda: kept.probe_kills == 1, "its liveness has failed")
            load.await_served(CLIENTS)
            self.await_settled()
        load.check()
        others = [k for w in self.workloads.values() for k in w.kept if k is not kept]
        self.assertEqual([k.pod.name for k in others if k.restarts], [], "healthy ones were killed")

    def test_two_stages_are_cut_off_from_one_another(self):
        self.scale_to_two(["catena-stage-1"])
        (first,) = self.workloads["catena-stage-0"].ready()
        (second, _) = self.workloads["catena-stage-1"].ready()
        with self.load() as load:
            with self.node.fault(first.pod, second.pod, "drop"):
                load.await_served(4 * CLIENTS)
            load.await_served(2 * CLIENTS)
        load.check()

    def test_a_network_that_loses_packets_loses_nothing_else(self):
        (first,) = self.workloads["catena-stage-0"].ready()
        (second,) = self.workloads["catena-stage-1"].ready()
        with self.load() as load, \
                self.node.fault(first.pod, second.pod, "numgen random mod 100 < 2 drop"):
            load.await_served(4 * CLIENTS)
        load.check()

    def test_names_that_fail_or_are_slow_change_nothing(self):
        with self.load() as load:
            for mode in ("failing", "slow"):
                self.node.set_dns(mode)
                load.await_served(4 * CLIENTS)
            stage = self.workloads["catena-stage-0"]
            stage.scale(2)  # found although names are slow
            wait_for(lambda: len(self.replicas("shard")) == 3, "the gateway has found it")
            self.node.set_dns("right")
            load.await_served(CLIENTS)
        load.check()

    def test_policies_let_through_what_is_needed_and_no_more(self):
        edges = reach.allowed(self.objects)
        pods = {w.of.name: w.kept[0].pod for w in self.workloads.values()}
        pairs = [(a, b, port) for a in pods for b in pods if a != b for port in (7000, 7080)]
        with concurrent.futures.ThreadPoolExecutor(len(pairs)) as executor:
            found = executor.map(lambda p: pods[p[0]].can_reach(pods[p[1]], p[2]), pairs)
            reached = {pair for pair, is_open in zip(pairs, found) if is_open}
        self.assertEqual(reached, {pair for pair in pairs if pair in edges})


class TlsTest(Rehearsal):
    overlay = "overlays/mtls"

    def client_options(self):
        return ("--tls-ca", str(self.node.certificates.authority),
                "--tls-server-name", "catena-gateway.catena.svc")

    def test_certificates_are_renewed_while_all_serve(self):
        (gateway,) = self.workloads["catena-gateway"].ready()
        ids, error = generate("--gateway", f"{gateway.pod.ip}:7000", "--prompt", PROMPTS[0])
        self.assertIsNone(ids, "it serves who does not speak TLS")
        self.assertIn("TLS", error)
        with self.load() as load:
            self.node.certificates.renew()
            # These have the new ones, others still the old ones for a while.
            self.workloads["catena-stage-0"].roll()
            self.workloads["catena-stage-1"].scale(2)
            self.await_settled()
            load.await_served(4 * CLIENTS)
        load.check()


if __name__ == "__main__":
    unittest.main()
