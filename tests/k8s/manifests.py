"""The manifests of k8s/ as kubectl renders them, and what the checks look up in them.

CATENA   the command (build/release/bin/catena of this checkout)
"""

import functools
import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
COMMAND = os.environ.get("CATENA", str(ROOT / "build/release/bin/catena"))
OVERLAYS = ("base", *sorted(f"overlays/{p.name}" for p in (K8S / "overlays").iterdir()))


def tool(name):
    """A program of the virtual environment that runs the tests."""
    return str(pathlib.Path(sys.executable).parent / name)


@functools.cache
def rendered_text(overlay):
    done = subprocess.run([tool("kubectl"), "kustomize", str(K8S / overlay)], check=False,
                          capture_output=True, text=True)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"{overlay}: {done.stderr}")
    return done.stdout


def rendered(overlay):
    """The objects of an overlay, anew for each caller."""
    return load(rendered_text(overlay))


def load(text):
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


def name_of(obj):
    return f"{obj['kind']}/{obj['metadata']['name']}"


def of_kind(objects, *kinds):
    return [o for o in objects if o["kind"] in kinds]


class Pods(NamedTuple):
    """The pods of a workload: all alike."""
    owner: dict
    name: str
    template: dict

    @property
    def labels(self):
        return self.template["metadata"]["labels"]

    @property
    def spec(self):
        return self.template["spec"]

    @property
    def containers(self):
        return self.spec.get("initContainers", []) + self.spec["containers"]

    @property
    def role(self):
        """The subcommand that its container runs, or None."""
        container = self.spec["containers"][0]
        is_catena = container["image"].split(":")[0].rpartition("/")[2] == "catena"
        return container["args"][0] if is_catena and "command" not in container else None

    @property
    def flags(self):
        """{"--model": "/weights/…"} of that container."""
        if self.role is None:
            return {}
        return dict(arg.split("=", 1) for arg in self.spec["containers"][0]["args"][1:])

    def port(self, port):
        """The number of a port of a container by its name or number, or None."""
        return next((p["containerPort"] for c in self.spec["containers"] for p in c.get("ports", [])
                     if port in (p.get("name"), p["containerPort"])), None)


def workloads(objects):
    for o in objects:
        if o["kind"] in ("Deployment", "Job"):
            yield Pods(o, name_of(o), o["spec"]["template"])
        elif o["kind"] == "DisaggregatedSet":
            for role in o["spec"]["roles"]:
                template = role["spec"]["leaderWorkerTemplate"]["workerTemplate"]
                yield Pods(o, f"{name_of(o)}/{role['name']}", template)


def selects(selector, labels):
    """Whether a selector (a LabelSelector, or the plain labels of a Service) matches labels."""
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return all(labels.get(k) == v for k, v in selector.items())
    if any(labels.get(k) != v for k, v in selector.get("matchLabels", {}).items()):
        return False
    for e in selector.get("matchExpressions", []):
        is_in = labels.get(e["key"]) in e["values"]
        if is_in != {"In": True, "NotIn": False}[e["operator"]]:
            return False
    return True


@functools.cache
def help_of(role):
    return subprocess.run([COMMAND, role, "--help"], check=True, capture_output=True,
                          text=True).stdout


@functools.cache
def flags_of(role):
    return set(re.findall(r"^\s+(?:-\w,)?(--[\w-]+)", help_of(role), re.MULTILINE))


def default_of(role, flag):
    """The number that a role's --help says is the default of a flag."""
    about = re.search(rf"{flag} .*?(?=\n\s+--|\Z)", help_of(role), re.DOTALL).group()
    return int(re.search(r"default (\d+)", about).group(1))


def version():
    """Of the project, as CMakeLists.txt says."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.search(r"project\(catena VERSION (\S+)", text).group(1)


_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30,
          "Ti": 2**40, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def bytes_of(text):
    """Of a quantity of Kubernetes, or of a flag of ours."""
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", str(text)).groups()
    return int(float(number) * _UNITS[unit])
