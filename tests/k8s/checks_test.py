"""Every overlay of k8s/ holds to every check, and every check finds the errors planted for it."""

import os
import re
import subprocess
import tempfile
import unittest

import checks
import yaml
from manifests import OVERLAYS, ROOT, name_of, of_kind, rendered, workloads


class Objects:
    """An overlay's objects, to be spoilt."""

    def __init__(self, overlay):
        self.all = rendered(overlay)

    def __getitem__(self, name):
        return next(o for o in self.all if name_of(o) == name)

    def pod(self, name):
        return self[name]["spec"]["template"]["spec"]

    def container(self, name):
        return self.pod(name)["containers"][0]

    def arg(self, name, flag, value):
        """Gives a flag another value, or leaves it out."""
        args = [a for a in self.container(name)["args"] if not a.startswith(flag + "=")]
        self.container(name)["args"] = args + ([f"{flag}={value}"] if value else [])

    def remove(self, name):
        self.all.remove(self[name])


GATEWAY, STAGE, HEAD = ("Deployment/catena-gateway", "Deployment/catena-stage-0",
                        "Deployment/catena-head")


def put(where, key, value):
    where[key] = value


# (the check that must find it, the overlay, what is spoilt)
PLANTED = [
    ("schema", "base", lambda o: put(o[STAGE]["spec"], "replica", 2)),
    ("schema", "base", lambda o: put(o[STAGE]["spec"], "replicas", "2")),
    ("schema", "base", lambda o: put(o[STAGE], "apiVersion", "apps/v2")),
    ("schema", "mtls", lambda o: put(o["Certificate/catena-head"]["spec"], "secret", "x")),
    ("schema", "leaderworkerset", lambda o: put(
        o["DisaggregatedSet/catena"]["spec"]["roles"][0]["spec"]["leaderWorkerTemplate"]
        ["workerTemplate"]["spec"], "container", [])),
    ("schema", "leaderworkerset", lambda o: o["DisaggregatedSet/catena"]["spec"]["roles"].extend(
        {**o["DisaggregatedSet/catena"]["spec"]["roles"][0], "name": f"r{i}"} for i in range(6))),
    ("selectors", "base", lambda o: put(
        o["Service/catena-stage-1"]["spec"]["selector"], "catena/stage", "catena-stage-9")),
    ("selectors", "base", lambda o: put(
        o[STAGE]["spec"]["template"]["metadata"]["labels"], "catena/stage", "catena-stage-1")),
    ("selectors", "monitoring", lambda o: put(
        o["PodMonitor/catena"]["spec"]["selector"]["matchLabels"], "app.kubernetes.io/name", "x")),
    ("selectors", "base", lambda o: o[STAGE]["spec"]["selector"]["matchLabels"].pop(
        "catena/stage")),
    ("ports", "base", lambda o: put(
        o["Service/catena-gateway"]["spec"]["ports"][0], "targetPort", "grcp")),
    ("ports", "base", lambda o: put(o["Service/catena-head"]["spec"]["ports"][0], "port", 7001)),
    ("ports", "base", lambda o: o.arg(HEAD, "--listen", "0.0.0.0:7001")),
    ("ports", "base", lambda o: o.arg(HEAD, "--listen", "127.0.0.1:7000")),
    ("ports", "base", lambda o: o.arg(HEAD, "--http", None)),
    ("ports", "base", lambda o: o.arg(GATEWAY, "--head", "catena-heads:7000")),
    ("probes", "base", lambda o: o.container(STAGE).pop("startupProbe")),
    ("probes", "base", lambda o: put(
        o.container(STAGE)["livenessProbe"]["httpGet"], "path", "/readyz")),
    ("probes", "base", lambda o: put(
        o.container(STAGE)["readinessProbe"]["httpGet"], "path", "/healthz")),
    ("probes", "base", lambda o: put(
        o.container(STAGE)["readinessProbe"]["httpGet"], "port", "metrics")),
    ("probes", "base", lambda o: put(
        o.container(GATEWAY)["startupProbe"]["httpGet"], "path", "/readyz")),
    ("probes", "phi3-multigpu-pod", lambda o: put(
        o.container(GATEWAY)["livenessProbe"]["grpc"], "service", "alive")),
    ("probes", "mtls", lambda o: put(
        o.container(GATEWAY), "livenessProbe", {"grpc": {"port": 7000, "service": "liveness"}})),
    ("grace", "base", lambda o: put(o.pod(STAGE), "terminationGracePeriodSeconds", 55)),
    ("grace", "base", lambda o: o.arg(STAGE, "--grace", "41")),
    ("grace", "base", lambda o: o.container(STAGE).pop("lifecycle")),
    ("grace", "base", lambda o: put(o[STAGE]["spec"], "minReadySeconds", 10)),
    # Without the flag its default counts: 20 s, which with preStop need 40.
    ("grace", "base", lambda o: (o.arg(STAGE, "--grace", None), put(
        o.pod(STAGE), "terminationGracePeriodSeconds", 39))),
    ("edges", "base", lambda o: o["NetworkPolicy/catena-gateway"]["spec"]["egress"].pop()),
    ("edges", "base", lambda o: o["NetworkPolicy/catena-stage-1"]["spec"]["ingress"][0]
     ["from"].pop()),
    ("edges", "base", lambda o: put(
        o["NetworkPolicy/catena-stage-1"]["spec"]["ingress"][0]["ports"][0], "port", 7001)),
    ("edges", "base", lambda o: o.remove("NetworkPolicy/catena-head")),
    ("edges", "base", lambda o: put(o["NetworkPolicy/catena-tokenizer"]["spec"], "egress",
                                    [{"ports": [{"protocol": "TCP", "port": 443}]}])),
    ("edges", "base", lambda o: o.remove("NetworkPolicy/catena-default-deny") or
     o.remove("NetworkPolicy/catena-tokenizer")),
    ("edges", "base", lambda o: o.arg("Deployment/catena-stage-1", "--next",
                                      "catena-head:7000,catena-stage-0:7000")),
    ("edges", "monitoring", lambda o: o.remove("NetworkPolicy/catena-metrics")),
    ("flags", "base", lambda o: o.arg(STAGE, "--gpu", "0")),
    ("flags", "base", lambda o: o.arg(HEAD, "--layers", "0-30")),
    ("images", "base", lambda o: put(o.container(STAGE), "image", "catena:0.0.9")),
    ("images", "base", lambda o: put(o.container("Job/catena-weights"), "image", "python")),
    ("images", "phi3-4gpu", lambda o: put(o.container(STAGE), "image", f"catena:{VERSION}")),
    ("images", "phi3-4gpu", lambda o: o.arg(HEAD, "--backend", "")),
    ("security", "base", lambda o: o.pod(STAGE)["securityContext"].pop("runAsNonRoot")),
    ("security", "base", lambda o: o.pod(STAGE)["securityContext"].pop("seccompProfile")),
    ("security", "base", lambda o: o.pod(STAGE).pop("automountServiceAccountToken")),
    ("security", "base", lambda o: put(o.pod(STAGE), "hostNetwork", True)),
    ("security", "base", lambda o: o.pod(STAGE)["volumes"].append(
        {"name": "host", "hostPath": {"path": "/"}})),
    ("security", "base", lambda o: put(
        o.container(STAGE)["securityContext"]["capabilities"], "drop", ["NET_RAW"])),
    ("security", "base", lambda o: put(
        o.pod(STAGE)["initContainers"][0], "securityContext", {})),
    ("security", "base", lambda o: o.container(STAGE)["volumeMounts"][0].pop("readOnly")),
    ("security", "base", lambda o: o["ServiceAccount/catena-head"].pop(
        "automountServiceAccountToken")),
    ("security", "base", lambda o: o["Namespace/catena"]["metadata"]["labels"].clear()),
    ("budgets", "base", lambda o: o.remove("PodDisruptionBudget/catena-head")),
    ("budgets", "base", lambda o: o["PodDisruptionBudget/catena-head"]["spec"].pop(
        "unhealthyPodEvictionPolicy")),
    ("budgets", "base", lambda o: put(
        o["PodDisruptionBudget/catena-head"]["spec"], "maxUnavailable", 0)),
    ("resources", "base", lambda o: o.container(STAGE)["resources"].pop("limits")),
    ("resources", "base", lambda o: o.arg(STAGE, "--kv-memory", "64GiB")),
    ("resources", "base", lambda o: o.arg(STAGE, "--journal-memory", "64GiB")),
    ("chain", "base", lambda o: o.arg(STAGE, "--layers", "0-14")),
    ("chain", "base", lambda o: o.arg(STAGE, "--next", "catena-head:7000")),
    ("chain", "base", lambda o: o.arg(HEAD, "--model", "/weights/other.gguf")),
    ("chain", "base", lambda o: o.pod(HEAD)["initContainers"][0]["command"].append("/weights/x")),
    ("references", "base", lambda o: o.remove("ServiceAccount/catena-head")),
    ("references", "base", lambda o: o.remove("PersistentVolumeClaim/catena-weights")),
    ("references", "mtls", lambda o: o.remove("Certificate/catena-head")),
    ("references", "dra", lambda o: o.remove("ResourceClaimTemplate/catena-gpu")),
    ("references", "base", lambda o: o.pod(STAGE)["volumes"].clear()),
    ("references", "gateway-api", lambda o: put(
        o["GRPCRoute/catena"]["spec"]["rules"][0]["backendRefs"][0], "port", 7001)),
    ("scaling", "autoscale", lambda o: put(o[STAGE]["spec"], "replicas", 2)),
    ("scaling", "autoscale-keda", lambda o: put(
        o["ScaledObject/catena-head"]["spec"]["scaleTargetRef"], "name", "catena-heads")),
    ("scaling", "autoscale-keda", lambda o: put(
        o["ScaledObject/catena-head"]["spec"], "minReplicaCount", 0)),
    ("metrics", "monitoring", lambda o: put(
        o["PrometheusRule/catena"]["spec"]["groups"][0]["rules"][0], "expr", "catena_ready == 0")),
    ("metrics", "autoscale", lambda o: put(
        o["HorizontalPodAutoscaler/catena-head"]["spec"]["metrics"][0]["pods"]["metric"], "name",
        "catena_stage_queue")),
    ("certificates", "mtls", lambda o: o.arg(HEAD, "--tls-ca", None)),
    ("certificates", "mtls", lambda o: put(
        o["Certificate/catena-head"]["spec"], "dnsNames", ["catena-shard"])),
]
VERSION = checks.version()


class ChecksTest(unittest.TestCase):
    maxDiff = None

    def test_every_overlay_holds_to_every_check(self):
        for overlay in OVERLAYS:
            objects = rendered(overlay)
            for check in checks.CHECKS:
                with self.subTest(overlay=overlay, check=check.__name__):
                    self.assertEqual(list(check(objects)), [])

    def test_every_check_finds_what_is_planted(self):
        by_name = {check.__name__: check for check in checks.CHECKS}
        for i, (name, overlay, spoil) in enumerate(PLANTED):
            with self.subTest(check=name, row=i):
                path = overlay if overlay == "base" else f"overlays/{overlay}"
                objects = Objects(path)
                spoil(objects)
                self.assertTrue(list(by_name[name](objects.all)), "it found nothing")

    def test_every_check_has_a_planted_error(self):
        self.assertEqual({row[0] for row in PLANTED}, {c.__name__ for c in checks.CHECKS})

    def test_every_role_of_the_base_is_looked_at(self):
        roles = {p.role for p in workloads(rendered("base"))}
        self.assertEqual(roles, {None, "gateway", "tokenizer", "shard", "head"})

    def test_the_guide_says_what_each_alert_asks_for(self):
        (rules,) = of_kind(rendered("overlays/monitoring"), "PrometheusRule")
        alerts = {r["alert"] for g in rules["spec"]["groups"] for r in g["rules"]}
        guide = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")
        self.assertEqual(alerts, set(re.findall(r"^\| `(Catena\w+)` \|", guide, re.MULTILINE)))

    def test_promtool_takes_the_alerts(self):
        promtool = os.environ.get("CATENA_PROMTOOL")
        if not promtool:
            self.skipTest("no promtool: set CATENA_PROMTOOL")
        (rules,) = of_kind(rendered("overlays/monitoring"), "PrometheusRule")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(rules["spec"], file)
            file.flush()
            done = subprocess.run([promtool, "check", "rules", file.name], check=False,
                                  capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)


if __name__ == "__main__":
    unittest.main()
