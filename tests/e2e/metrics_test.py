"""What operators see over HTTP: metrics that say what happened, and health that is true.

CATENA_PROMTOOL   promtool, of Debian's package prometheus (default: the one on PATH)
"""

import collections
import json
import os
import re
import shutil
import socket
import subprocess
import unittest
import urllib.error
import urllib.request

from catena import ROOT
from cluster import Cluster, anonymous_memory, await_that
from errors_test import ErrorCase
from streams import Stream, StreamCase

GENERATE = ("generate", "--prompt-tokens", "1,2,3", "--max-tokens", 20, "--ignore-eos", "--json")
SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def get(address, path):
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Page:
    """A scrape: {name: {labels: value}}, labels as a tuple of sorted pairs."""

    def __init__(self, text):
        self.text = text
        self.samples = collections.defaultdict(dict)
        self.types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels, value = SAMPLE.match(line).groups()
                key = tuple(sorted(LABEL.findall(labels or "")))
                self.samples[name][key] = float(value)

    def value(self, name, **labels):
        return self.samples[name].get(tuple(sorted(labels.items())), 0.0)

    def total(self, name):
        return sum(self.samples[name].values())


class MetricsTest(ErrorCase):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")

    def scrape(self, process):
        status, text = get(process["metrics"], "/metrics")
        self.assertEqual(status, 200, text)
        return Page(text)

    def scrapes(self, cluster):
        """By role; of shards, the last."""
        return {p["role"]: self.scrape(p) for p in cluster.processes}

    def test_tokens_requests_and_rows_are_those_that_were_asked_for(self):
        with Cluster(self, self.model, "--stages", 2) as cluster:
            before = self.scrapes(cluster)
            for _ in range(3):
                done = cluster.run(*GENERATE)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(len(json.loads(done.stdout)["token_ids"]), 20)
            done = cluster.run(*GENERATE, "--top-p", 2)
            self.assertNotEqual(done.returncode, 0)
            pages = self.scrapes(cluster)
            gateway = pages["gateway"]

            def grew(role, name, **labels):
                return pages[role].value(name, **labels) - before[role].value(name, **labels)

            self.assertEqual(grew("gateway", "catena_gateway_prompt_tokens_total"), 9)
            self.assertEqual(grew("gateway", "catena_gateway_output_tokens_total"), 60)
            ok = {"method": "Generate", "code": "OK", "reason": "OK"}
            self.assertEqual(gateway.value("catena_gateway_requests_total", **ok), 3)
            bad = {"method": "Generate", "code": "INVALID_ARGUMENT", "reason": "INVALID_FIELD"}
            self.assertEqual(gateway.value("catena_gateway_requests_total", **bad), 1)
            self.assertEqual(gateway.value("catena_gateway_sequences_total", finish="length"), 3)
            for name, count in (("time_to_first_token_seconds", 3), ("inter_token_seconds", 57),
                                ("queue_wait_seconds", 3)):
                self.assertEqual(gateway.value(f"catena_gateway_{name}_count"), count, name)
            self.assertGreater(gateway.value("catena_gateway_request_seconds_sum"), 0)
            self.assertEqual(gateway.value("catena_gateway_ready"), 1)
            self.assertEqual(
                gateway.value("catena_gateway_replicas", role="shard", health="serving"), 2)
            model = gateway.samples["vllm:num_requests_running"]
            self.assertEqual(list(model), [(("model_name", "stories260k-phi3"),)])
            self.assertEqual(gateway.total("vllm:generation_tokens_total"),
                             gateway.value("catena_gateway_output_tokens_total"))
            self.assertGreaterEqual(grew("tokenizer", "catena_tokenizer_tokens_total",
                                         direction="decode"), 60)
            # A prompt and all tokens but the last, three times; probes of the gateway come on top.
            for role in ("shard", "head"):
                self.assertGreaterEqual(grew(role, "catena_stage_batches_total"), 60, role)
                self.assertGreater(pages[role].value("catena_stage_forward_seconds_sum"), 0, role)
                self.assertGreater(pages[role].value("catena_stage_busy_seconds_total"), 0, role)
                self.assertGreater(pages[role].total("catena_hop_seconds_count"), 0, role)
                self.assertEqual(pages[role].value("catena_stage_divergences_total"), 0, role)
                self.assertEqual(pages[role].value("catena_stage_replayed_rows_total"), 0, role)
            self.assertGreaterEqual(grew("shard", "catena_stage_rows_total"), 3 * 22)

    def test_promtool_finds_nothing_wrong_and_the_documentation_names_all(self):
        promtool = os.environ.get("CATENA_PROMTOOL") or shutil.which("promtool")
        self.need(promtool, "promtool is absent: install Debian's package prometheus")
        documented = set(re.findall(r"`([a-z]+[_:][a-z0-9_:]+)`",
                                    (ROOT / "docs/OBSERVABILITY.md").read_text(encoding="utf-8")))
        kinds = dict(re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|",
                                (ROOT / "docs/OBSERVABILITY.md").read_text(encoding="utf-8"),
                                re.MULTILINE))
        with Cluster(self, self.model, "--stages", 2) as cluster:
            self.assertEqual(cluster.run(*GENERATE).returncode, 0)
            seen = {}
            for process in cluster.processes:
                page = self.scrape(process)
                seen.update(page.types)
                done = subprocess.run([promtool, "check", "metrics"], input=page.text.encode(),
                                      capture_output=True, check=False)
                # Of names that are not ours promtool may not like the form.
                said = [line for line in (done.stdout + done.stderr).decode().splitlines()
                        if not line.startswith("vllm:")]
                self.assertEqual(said, [], process["role"])
        self.assertEqual(sorted(set(seen) - documented), [], "not in docs/OBSERVABILITY.md")
        named = {n for n in documented if n.startswith(("catena_", "process_", "vllm:"))}
        self.assertEqual(sorted(named - set(seen)), [], "in docs/OBSERVABILITY.md alone")
        self.assertEqual({n: seen[n] for n in kinds}, kinds)

    def test_ready_is_not_said_where_a_stage_is_missing(self):
        with Cluster(self, self.model, "--stages", 1) as cluster:
            at = {p["role"]: p["metrics"] for p in cluster.processes}
            for role, address in at.items():
                self.assertEqual(get(address, "/livez"), (200, "ok\n"), role)
                self.assertEqual(get(address, "/readyz"), (200, "ok\n"), role)
            (pid,) = cluster.pids("head")
            os.kill(pid, 9)
            await_that(lambda: get(at["gateway"], "/readyz")[0] == 503, "the gateway is not ready")
            await_that(lambda: get(at["gateway"], "/readyz")[0] == 200, "it is ready again")
            # The head that was started again has its metrics where the first had them.
            self.assertEqual(get(at["head"], "/readyz"), (200, "ok\n"))
            self.assertEqual({p["role"]: p["metrics"] for p in cluster.status()["processes"]}, at)

    def test_callers_who_say_nothing_or_too_much_cost_nothing(self):
        with Cluster(self, self.model, "--stages", 1) as cluster:
            address = cluster.processes[0]["metrics"]
            (pid,) = cluster.pids("gateway")
            memory = anonymous_memory(pid)
            open_fds = len(os.listdir(f"/proc/{pid}/fd"))
            host, _, port = address.rpartition(":")
            silent = []
            for i in range(400):
                connection = socket.create_connection((host, int(port)), 20)
                connection.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: " + b"x" * 4000)
                silent.append(connection)
                if i % 50 == 0:
                    self.assertEqual(get(address, "/livez"), (200, "ok\n"))
            self.assertLessEqual(len(os.listdir(f"/proc/{pid}/fd")), open_fds + 80)
            self.assertLess(anonymous_memory(pid) - memory, 16 << 20)
            self.assertEqual(cluster.run(*GENERATE).returncode, 0)
            for connection in silent:
                connection.close()


class SequencesTest(StreamCase):

    def test_what_runs_is_listed_with_its_age_and_its_id_is_in_the_log(self):
        with Cluster(self, self.model, "--stages", 2, "--log-format", "json") as cluster:
            # The gateway asks for a token of its own now and then.
            await_that(lambda: self.listed(cluster) == {"total": 0, "sequences": []}, "none runs")
            streams = [Stream(self, cluster) for _ in range(2)]
            for stream in streams:
                stream.await_more()
            await_that(lambda: self.listed(cluster)["total"] == 2, "both run")
            running = self.listed(cluster)
            for sequence in running["sequences"]:
                self.assertEqual((sequence["state"], sequence["prompt_tokens"]), ("running", 1))
                self.assertGreater(sequence["output_tokens"], 0)
                self.assertGreater(sequence["age_ns"], 0)
                self.assertLess(sequence["since_progress_ns"], sequence["age_ns"])
                self.assertEqual(len(sequence["route"]), 3)
            done = cluster.run("status", "--sequences")
            self.assertEqual((done.returncode, len(done.stdout.splitlines())), (0, 3), done.stderr)
            ids = sorted(s["sequence_id"] for s in running["sequences"])
            done = cluster.run("debug", ids[0])
            self.assertEqual(done.returncode, 0, done.stderr)
            for stream in streams:
                stream.interrupt()
            await_that(lambda: self.listed(cluster)["total"] == 0, "all have ended")
            await_that(lambda: len(self.requests(cluster)) == 2, "each is in the log")
            self.assertEqual(sorted(r["sequence"] for r in self.requests(cluster)), ids)
            for request in self.requests(cluster):
                self.assertEqual((request["role"], request["method"], request["status"]),
                                 ("gateway", "Generate", "CANCELLED"))
                self.assertGreater(request["output_tokens"], 0)

    def listed(self, cluster):
        done = cluster.run("status", "--sequences", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def requests(self, cluster):
        """The log's lines about requests; every line is an object."""
        lines = [json.loads(line) for line in cluster.log().splitlines()]
        return [line for line in lines if line["message"] == "request"]


if __name__ == "__main__":
    unittest.main()
