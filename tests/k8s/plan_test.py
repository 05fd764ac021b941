"""What `catena plan --format kustomize` writes is what k8s/ holds, and right for other models."""

import os
import pathlib
import re
import shlex
import subprocess
import unittest

import checks
from manifests import COMMAND, K8S, ROOT, load, name_of, rendered

SHARED = pathlib.Path(os.environ.get("CATENA_SHARED", ROOT.parent / "shared"))
PHI3 = SHARED / "phi3/config.json"
SMOLLM2 = os.environ.get("CATENA_SMOLLM2_GGUF", "")
MODELS = {"base": SMOLLM2, "overlays/cpu-demo": SMOLLM2, "overlays/phi3-4gpu": PHI3}


def plan(*args):
    return subprocess.run([COMMAND, "plan", *map(str, args)], check=False, capture_output=True,
                          text=True)


class PlanTest(unittest.TestCase):

    def setUp(self):
        for model in set(MODELS.values()):
            if not pathlib.Path(model).is_file():
                why = f"no model at {model!r}: set CATENA_SHARED and CATENA_SMOLLM2_GGUF"
                self.fail(why) if os.environ.get("CI") == "true" else self.skipTest(why)

    def test_what_is_checked_in_is_what_the_command_in_it_writes(self):
        for folder, model in MODELS.items():
            with self.subTest(folder):
                text = (K8S / folder / "stages.yaml").read_text(encoding="utf-8")
                command = re.match(r"# Written by `catena plan MODEL (.*)`", text).group(1)
                done = plan(model, *shlex.split(command))
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertEqual(done.stdout, text, "write it anew (k8s/README.md)")

    def test_any_number_of_stages_holds_to_the_checks(self):
        frame = [o for o in rendered("base")
                 if "catena/stage" not in o["metadata"].get("labels", {})]
        for stages in (1, 3, 32):
            with self.subTest(stages=stages):
                done = plan(PHI3, "--stages", stages, "--format", "kustomize", "--model-path",
                            "/weights/SmolLM2-135M-Instruct.Q4_1.gguf")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                text = done.stdout.replace("image: catena", f"image: catena:{checks.version()}")
                objects = frame + load(text)
                self.assertEqual(sum(o["kind"] == "Deployment" for o in objects), stages + 3)
                for check in checks.CHECKS:
                    if check is not checks.schema or stages == 1:
                        self.assertEqual(list(check(objects)), [], check.__name__)

    def test_memory_is_for_what_a_stage_holds(self):
        def memory(*options):
            done = plan(PHI3, "--stages", 4, "--format", "kustomize", *options)
            return [checks.bytes_of(
                o["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"])
                for o in load(done.stdout) if o["kind"] == "Deployment"]
        small, large = memory("--kv-memory", "1GiB"), memory("--kv-memory", "3GiB")
        # A position has 8 blocks * 12 KiB in the cache and a row of 12 KiB in the journal.
        self.assertEqual([b - a for a, b in zip(small, large)], [2 * 2**30 * 9 // 8] * 4 + [0])
        self.assertGreater(small[0], small[1], "the first stage has the embedding besides")

    def test_what_cannot_be_is_refused(self):
        for options, why in ((("--format", "helm"), "kustomize"), (("--replicas", "2"), "--format"),
                             (("--format", "kustomize", "--kv-memory", "x"), "512MiB")):
            done = plan(PHI3, "--stages", 2, *options)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(why, done.stderr)

    def test_its_names_say_what_they_are_of(self):
        done = plan(PHI3, "--stages", 2, "--format", "kustomize")
        self.assertEqual([name_of(o) for o in load(done.stdout)], [
            f"{kind}/{name}" for name in ("catena-stage-0", "catena-stage-1", "catena-head")
            for kind in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")])


if __name__ == "__main__":
    unittest.main()
