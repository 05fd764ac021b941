"""The Helm chart gives what k8s/base gives, and holds to the same checks with other values. Helm
itself renders it: its Python package is the Go library."""

import copy
import unittest

import checks
from helm_python import chart
from manifests import K8S, load, name_of, rendered, version

FOLDER = K8S / "chart"


def render(**values):
    with chart.Chart.load(FOLDER) as opened:
        texts = opened.render(values, name="catena", namespace="catena")
    return [o for text in texts.values() for o in load(text) if o]


def comparable(objects):
    """By name; without what Helm does by itself (the namespace) and kustomize (hashes in names)."""
    out = {}
    for o in copy.deepcopy(objects):
        o["metadata"].pop("namespace", None)
        if o["kind"] == "ConfigMap":
            o["metadata"]["name"] = "catena-fetch-weights"
        if o["kind"] == "Job":
            for volume in o["spec"]["template"]["spec"]["volumes"]:
                if "configMap" in volume:
                    volume["configMap"]["name"] = "catena-fetch-weights"
        out[name_of(o)] = o
    out.pop("Namespace/catena", None)
    return out


class ChartTest(unittest.TestCase):
    maxDiff = None

    def test_its_defaults_are_the_base(self):
        helm, kustomize = comparable(render()), comparable(rendered("base"))
        self.assertEqual(sorted(helm), sorted(kustomize))
        for name, wanted in kustomize.items():
            with self.subTest(name):
                self.assertEqual(helm[name], wanted)

    def test_it_would_be_seen_to_differ(self):
        helm = comparable(render(head={"replicas": 3}))
        self.assertNotEqual(helm["Deployment/catena-head"],
                            comparable(rendered("base"))["Deployment/catena-head"])

    def test_other_values_hold_to_the_checks(self):
        objects = render(
            image={"repository": "registry.example.com/catena", "tag": f"{version()}-cuda"},
            model="/weights/Phi-3-mini-4k-instruct",
            stages=[{"layers": f"{8 * i}-{8 * i + 8}", "journalMemory": "1GiB", "memory": "12Gi",
                     "replicas": i + 1} for i in range(4)],
            shard={"threads": 4, "kvMemory": "8GiB", "gpus": 1, "args": ["--context=2048"]},
            gateway={"args": ["--max-waiting=100"]})
        self.assertEqual([f for check in checks.CHECKS for f in check(objects)], [])
        self.assertEqual(sum(o["kind"] == "Deployment" for o in objects), 7)

    def test_one_stage_is_a_chain_too(self):
        objects = render(stages=[{"layers": "0-30", "journalMemory": "205MiB", "memory": "4Gi",
                                  "replicas": 1}])
        self.assertEqual([f for check in checks.CHECKS for f in check(objects)], [])

    def test_a_stage_without_memory_for_its_journals_is_refused(self):
        with self.assertRaisesRegex(Exception, "journalMemory"):
            render(stages=[{"layers": "0-30", "memory": "4Gi", "replicas": 1}])

    def test_helm_lints_it(self):
        found = chart.lint(FOLDER, strict=True, namespace="catena")
        self.assertEqual([m for m in found["messages"] if m["severity"] > 1], [])
        self.assertEqual(found["errors"], [])

    def test_it_is_of_this_release(self):
        with chart.Chart.load(FOLDER) as opened:
            self.assertEqual(opened.metadata["version"], version())
            self.assertEqual(opened.metadata["appVersion"], version())


if __name__ == "__main__":
    unittest.main()
