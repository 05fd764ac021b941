"""The other ways to deploy agree with the program: Dockerfile, compose files, the systemd unit."""

import re
import subprocess
import tempfile
import unittest

from manifests import ROOT, default_of, flags_of, load, rendered_text, tool, version

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd/catena@.service"


def lint(dockerfile):
    return subprocess.run([tool("hadolint"), dockerfile], check=False, capture_output=True,
                          text=True)


class DockerfileTest(unittest.TestCase):

    def setUp(self):
        self.text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")

    def test_hadolint_has_nothing_to_say(self):
        done = lint(DEPLOY / "Dockerfile")
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_hadolint_would_say_something(self):
        with tempfile.NamedTemporaryFile("w", suffix="Dockerfile") as file:
            file.write(self.text.replace("FROM debian:12-slim AS", "FROM debian AS"))
            file.flush()
            self.assertIn("DL3006", lint(file.name).stdout)

    def test_it_is_of_this_release_and_no_root(self):
        self.assertIn(f'image.version="{version()}"', self.text)
        self.assertIn("USER 65532:65532", self.text)

    def test_what_it_copies_is_not_ignored(self):
        ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8")
        kept = {line[1:] for line in ignore.splitlines() if line.startswith("!")}
        used = re.findall(r"^add_subdirectory\((\w+)", (ROOT / "CMakeLists.txt").read_text("utf-8"),
                          re.MULTILINE)
        for path in ("CMakeLists.txt", "CMakePresets.json", "README.md", "deploy", *used):
            self.assertIn(path, kept)


class ComposeTest(unittest.TestCase):

    def setUp(self):
        (self.compose,) = load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
        self.roles = {n: s for n, s in self.compose["services"].items() if n != "weights"}

    def flags(self, name):
        return dict(arg.split("=", 1) for arg in self.roles[name]["command"][1:])

    def test_its_commands_are_the_programs(self):
        for name, service in self.roles.items():
            with self.subTest(name):
                role = service["command"][0]
                self.assertLessEqual(set(self.flags(name)), flags_of(role))
                self.assertEqual(service["image"], f"catena:{version()}")
                for flag in ("--tokenizer", "--shard", "--head", "--next"):
                    for target in filter(None, self.flags(name).get(flag, "").split(",")):
                        host, port = target.split(":")
                        self.assertEqual(self.flags(host)["--listen"], f"0.0.0.0:{port}")

    def test_it_stops_no_sooner_than_the_roles_have_drained(self):
        for name, service in self.roles.items():
            role = service["command"][0]
            self.assertGreater(int(service["stop_grace_period"].rstrip("s")),
                               default_of(role, "--grace") + 5)

    def test_on_gpus_the_same_is_said_but_the_backend(self):
        (gpu,) = load((DEPLOY / "compose.gpu.yaml").read_text(encoding="utf-8"))
        self.assertEqual(set(gpu["services"]),
                         {n for n, s in self.roles.items() if s["command"][0] in ("shard", "head")})
        for name, service in gpu["services"].items():
            command = [c for c in service["command"] if c != "--backend=cuda"]
            self.assertEqual(command, self.roles[name]["command"])
            self.assertNotEqual(command, service["command"])
            self.assertEqual(service["image"], f"catena:{version()}-cuda")

    def test_it_fetches_the_weights_as_the_job_does(self):
        (job,) = (o for o in load(rendered_text("base")) if o["kind"] == "Job")
        args = job["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertEqual(self.compose["services"]["weights"]["command"][2:], args)

    def test_nothing_is_written_and_nothing_may_be_gained(self):
        for name, service in self.compose["services"].items():
            with self.subTest(name):
                self.assertTrue(service["read_only"])
                self.assertEqual(service["cap_drop"], ["ALL"])


class UnitTest(unittest.TestCase):

    def verify(self, text):
        """What systemd has to say of the unit, with a program that is there."""
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/catena@.service"
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace("/usr/bin/catena", "/bin/true"))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], check=False,
                                  capture_output=True, text=True)
        lines = done.stderr.splitlines()
        return [line for line in lines if "catena" in line]

    def test_systemd_takes_it(self):
        self.assertEqual(self.verify(UNIT.read_text(encoding="utf-8")), [])

    def test_systemd_would_say_something(self):
        text = UNIT.read_text(encoding="utf-8").replace("ProtectHome=", "ProtectHoem=")
        self.assertTrue(self.verify(text))

    def test_it_waits_for_the_drain(self):
        text = UNIT.read_text(encoding="utf-8")
        stop = int(re.search(r"^TimeoutStopSec=(\d+)", text, re.MULTILINE).group(1))
        for role in ("gateway", "shard", "head", "tokenizer"):
            self.assertGreater(stop, default_of(role, "--grace") + 5)


if __name__ == "__main__":
    unittest.main()
