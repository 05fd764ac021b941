"""A node without a cluster: pods are processes in network namespaces of their own.

This process itself becomes the node: it moves into a new network namespace with a bridge, to which
every pod has a pair of virtual interfaces. A pod sees a root folder of bind mounts, in which the
program, the weights and resolv.conf lie where the manifests say, and runs its container's exact
command line as the manifests' user. Its NetworkPolicies are nftables rules in its own namespace,
those for what comes in and those for what goes out, as a network plugin's would be.
"""

import contextlib
import ctypes
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from cert_manager import CertManager
from manifests import COMMAND, selects

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
NODE_IP, DNS_IP, FIRST_POD = "10.77.0.1", "10.77.0.2", 16
USER = 65532
DOMAIN = "catena.svc.cluster.local"
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command, **options):
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def why_impossible():
    """Why this machine can be no node, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [p for p in ("ip", "nft", "mount", "openssl") if shutil.which(p) is None]
    if missing:
        return f"it lacks {', '.join(missing)}: deploy/install_deps.sh --with-tests"
    tried = subprocess.run(["unshare", "--net", "--mount", "nft", "add table inet t"], check=False,
                           capture_output=True, text=True)
    return f"no network namespace can be had: {tried.stderr}" if tried.returncode else None


class Pod:
    """A pod with its network; who starts it and keeps it alive is kubelet.py."""

    def __init__(self, node, name, pods, ip, space):
        self.node, self.name, self.of, self.ip, self.space = node, name, pods, ip, space
        self.labels = pods.labels
        self.container = pods.spec["containers"][0]
        self.process = None
        self.log_path = node.folder / f"{name}.log"
        self.log_path.touch()

    def start(self):
        """Its container, with its exact command line."""
        container = ["chroot", f"--userspec={USER}:{USER}", str(self.node.root),
                     "/usr/local/bin/catena", *self.container["args"]]
        command = ["ip", "netns", "exec", self.space,
                   "sh", "-c", self._mounts() + 'exec "$@"', "sh", *container]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)

    def _mounts(self):
        """Commands that mount its Secrets, in the mount namespace that `ip netns exec` makes."""
        paths = {m["name"]: m["mountPath"] for m in self.container.get("volumeMounts", [])}
        return "".join(
            f"mount --bind {self.node.certificates.secrets[v['secret']['secretName']].folder} "
            f"{self.node.root}{paths[v['name']]} && "
            for v in self.of.spec.get("volumes", []) if "secret" in v)

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def can_reach(self, other, port, timeout_s=1):
        """Whether a connection of its to another's port is let through."""
        program = (f"import socket\nsocket.create_connection(({other.ip!r}, {port}), "
                   f"{timeout_s}).close()")
        return subprocess.run(["ip", "netns", "exec", self.space, sys.executable, "-c", program],
                              check=False, capture_output=True).returncode == 0


class Node:
    """Becomes the node for the thread that makes it and those that it starts; a context manager
    that takes all away again."""

    def __init__(self, objects, model_path, model):
        self.objects = objects
        self._stack = contextlib.ExitStack()
        self._count = itertools.count()
        self._lock = threading.Lock()
        self.pods = []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rehearsal-"))
        self._stack.callback(self._remove_folder)
        self.root = self.folder / "root"
        self._names = self.folder / "names.json"  # what the name server reads
        self.dns_mode = "right"
        self._faults = []  # address, address, what nft does to packets between them
        try:
            self._enter_namespaces()
            self._make_root(model_path, model)
            self._make_network()
            self.certificates = CertManager(self.folder / "secrets", objects, USER)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _enter_namespaces(self):
        before = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
        # A thread of a process may have a mount namespace of its own only with a folder of its own.
        if LIBC.unshare(0x200 | CLONE_NEWNET | CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")

        def back():
            for space in before:
                if LIBC.setns(space, 0) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                os.close(space)
        self._stack.callback(back)
        run("mount", "--make-rprivate", "/")

    def _make_root(self, model_path, model):
        """Of what a pod sees, all read-only to its user."""
        os.chmod(self.folder, 0o755)
        self.root.mkdir()
        self._bind("/usr", self.root / "usr")
        for link in ("lib", "lib64"):  # to usr/
            (self.root / link).symlink_to(f"usr/{link}")
        (self.root / "proc").mkdir()
        self._mount(self.root / "proc", "-t", "proc", "proc")
        (self.root / "dev").mkdir()
        for device in ("null", "urandom"):
            self._bind(f"/dev/{device}", self.root / "dev" / device)
        (self.root / "tls").mkdir()
        etc = self.root / "etc"
        etc.mkdir()
        (etc / "nsswitch.conf").write_text("hosts: files dns\n", encoding="utf-8")
        (etc / "hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
        (etc / "resolv.conf").write_text(
            f"nameserver {DNS_IP}\nsearch {DOMAIN} svc.cluster.local cluster.local\n"
            "options ndots:5\n", encoding="utf-8")
        weights = self.root / model_path.lstrip("/")
        weights.parent.mkdir(parents=True)
        self._bind(model, weights)
        # Over a folder of the machine's own, in this mount namespace alone.
        self._mount(self.root / "usr/local/bin", "-t", "tmpfs", "tmpfs")
        self._bind(COMMAND, self.root / "usr/local/bin/catena")

    def _mount(self, where, *options):
        run("mount", *options, str(where))
        self._stack.callback(subprocess.run, ["umount", "--lazy", str(where)], check=False,
                             capture_output=True)

    def _bind(self, what, where):
        """Read-only: what lies there is the machine's."""
        if pathlib.Path(what).is_dir():
            where.mkdir()
        else:
            where.touch()
        self._mount(where, "--bind", str(what))
        run("mount", "-o", "remount,bind,ro", str(where))

    def _remove_folder(self):
        mounts = pathlib.Path("/proc/thread-self/mounts").read_text(encoding="utf-8")
        if str(self.folder) in mounts:  # to remove it would remove what is mounted there
            raise RuntimeError(f"{self.folder} still has mounts")
        shutil.rmtree(self.folder)

    def _make_network(self):
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "name", "br0", "type", "bridge")
        run("ip", "addr", "add", f"{NODE_IP}/16", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        self.publish()
        space = self._make_space("dns", DNS_IP)
        server = pathlib.Path(__file__).with_name("name_server.py")
        log = self._stack.enter_context(open(self.folder / "dns.log", "wb"))
        process = subprocess.Popen(
            ["ip", "netns", "exec", space, sys.executable, str(server), DNS_IP, str(self._names)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self._stack.callback(process.wait)
        self._stack.callback(process.stdin.close)
        self._stack.callback(process.stdout.close)
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the name server does not start")

    def _make_space(self, name, ip):
        space = f"catena-{os.getpid()}-{name}"
        run("ip", "netns", "add", space)
        self._stack.callback(subprocess.run, ["ip", "netns", "del", space], check=False,
                             capture_output=True)
        outer = f"v{ip.replace('.', '')[-9:]}"
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "link", "set", outer, "master", "br0", "up")
        for command in (("addr", "add", f"{ip}/16", "dev", "eth0"), ("link", "set", "eth0", "up"),
                        ("link", "set", "lo", "up")):
            run("ip", "-n", space, *command)
        return space

    def make_pod(self, pods):
        """A pod of a workload, not started yet: with its address, and known to the policies."""
        with self._lock:
            number = next(self._count)
            value = FIRST_POD + number
            name = f"{pods.owner['metadata']['name'].removeprefix('catena-')}-{number}"
            ip = f"10.77.{value // 256}.{value % 256}"
            pod = Pod(self, name, pods, ip, self._make_space(name, ip))
            self.pods.append(pod)
            self._apply_policies()
        self.publish()
        return pod

    def remove_pod(self, pod):
        with self._lock:
            self.pods.remove(pod)
            self._apply_policies()
        self.publish()
        run("ip", "netns", "del", pod.space)

    def end(self):
        """Kills what still runs."""
        for pod in self.pods:
            if pod.process is not None:
                pod.signal(signal.SIGKILL)
                pod.process.wait()

    # --- names

    def publish(self):
        """Tells the name server what each headless Service's name has for addresses."""
        names = {}
        with self._lock:
            for service in (o for o in self.objects if o["kind"] == "Service"):
                found = [p.ip for p in self.pods if selects(service["spec"]["selector"], p.labels)]
                names[f"{service['metadata']['name']}.{DOMAIN}."] = found
            text = json.dumps({"mode": self.dns_mode, "names": names})
            scratch = self._names.with_suffix(".new")
            scratch.write_text(text, encoding="utf-8")
            scratch.replace(self._names)

    def set_dns(self, mode):
        self.dns_mode = mode
        self.publish()

    # --- policies

    @contextlib.contextmanager
    def fault(self, pod, other, what):
        """Meanwhile `what` (nft) is done to what goes from one to the other, either way."""
        fault = (pod.ip, other.ip, what)
        with self._lock:
            self._faults.append(fault)
            self._apply_policies()
        try:
            yield
        finally:
            with self._lock:
                self._faults.remove(fault)
                self._apply_policies()

    def _fault_lines(self, pod, side):
        return [f"ip {side} {other} {what}" for a, b, what in self._faults
                for own, other in ((a, b), (b, a)) if own == pod.ip]

    def _apply_policies(self):
        """Every pod's rules anew: whoever comes or goes is a peer of others'."""
        for pod in self.pods:
            run("ip", "netns", "exec", pod.space, "nft", "-f", "-", input=self._rules_of(pod))

    def _rules_of(self, pod):
        policies = [o["spec"] for o in self.objects if o["kind"] == "NetworkPolicy" and
                    selects(o["spec"]["podSelector"], pod.labels)]
        lines = ["table inet pod", "delete table inet pod", "table inet pod {"]
        for direction, hook, key, side in (("Ingress", "input", "from", "saddr"),
                                           ("Egress", "output", "to", "daddr")):
            named = [p for p in policies if direction in p["policyTypes"]]
            verdict = "drop" if named else "accept"
            lines += [f"chain {hook} {{",
                      f"type filter hook {hook} priority 0; policy {verdict};",
                      *self._fault_lines(pod, side),
                      "ct state established,related accept", "iif lo accept", "oif lo accept",
                      f"ip {side} {NODE_IP} accept"]  # probes come from there
            for rule in (r for p in named for r in p.get(direction.lower(), [])):
                lines += self._rule_lines(rule, key, side)
            lines.append("}")
        return "\n".join(lines + ["}", ""])

    def _rule_lines(self, rule, key, side):
        addresses = self._addresses(rule, key)
        if addresses == []:
            return []
        who = f"ip {side} {{ {', '.join(addresses)} }} " if addresses else ""
        return [f"{who}{port['protocol'].lower()} dport {port['port']} accept"
                for port in rule["ports"]]

    def _addresses(self, rule, key):
        """Of whom a rule is about; None stands for everybody."""
        if key not in rule:
            return None
        found = []
        for peer in rule[key]:
            if "namespaceSelector" in peer:
                space = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
                found += [DNS_IP] if space == "kube-system" else []
            else:
                found += [p.ip for p in self.pods if selects(peer["podSelector"], p.labels)]
        return found
