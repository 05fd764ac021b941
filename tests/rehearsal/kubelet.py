"""What keeps pods: probes as the kubelet makes them, their life from start to end, and workloads
that have so many of them, scale and roll.

Waits of the manifests (periods of probes, preStop, minReadySeconds) are a third here, so that a
rehearsal takes minutes; what the program itself times (--grace, how failures are noticed) is as it
is.
"""

import contextlib
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

PACE = 1 / 3
LOOK_EVERY_S = 0.1
TERM, KILL = signal.SIGTERM, signal.SIGKILL


def probe(pod, spec):
    """One call: whether it was answered well in time."""
    ask = spec["httpGet"]
    port = pod.of.port(ask["port"])
    with contextlib.suppress(OSError, urllib.error.URLError):
        url = f"http://{pod.ip}:{port}{ask['path']}"
        with urllib.request.urlopen(url, timeout=spec.get("timeoutSeconds", 1)) as answer:
            return 200 <= answer.status < 400
    return False


class Kept:
    """A pod with who looks after it, in a thread of its own."""

    def __init__(self, pod):
        self.pod = pod
        self.ready_since = None
        self.restarts = 0  # after a crash, or because a probe failed
        self.probe_kills = 0
        self.exit_status = None  # once it has ended because it was asked to
        self._ending = threading.Event()
        pod.start()
        self._thread = threading.Thread(target=self._look_after, name=pod.name)
        self._thread.start()

    @property
    def is_ready(self):
        return self.ready_since is not None and not self._ending.is_set()

    def is_available(self, min_ready_s):
        return self.is_ready and time.monotonic() - self.ready_since >= min_ready_s * PACE

    def terminate(self):
        """Begins to end it: preStop, SIGTERM, and SIGKILL after the termination grace."""
        self._ending.set()

    def await_gone(self):
        self._thread.join()

    def _look_after(self):
        while not self._ending.is_set():
            self._run_once()
        self._end()

    def _run_once(self):
        """From the start of its container to its end, or to the pod's."""
        ended = self._await_start() or self._probe_on()
        self.ready_since = None
        if ended and not self._ending.is_set():
            self.restarts += 1
            self.pod.signal(KILL)
            self.pod.process.wait()
            self.pod.start()

    def _ended(self):
        return self.pod.process.poll() is not None

    def _await_start(self):
        """Whether it ended, or did not start in time."""
        spec = self.pod.container["startupProbe"]
        for _ in range(spec["failureThreshold"]):
            if self._ended():
                return True
            if probe(self.pod, spec):
                return False
            if self._ending.wait(spec["periodSeconds"] * PACE):
                return False
        self.probe_kills += 1
        return True

    def _probe_on(self):
        """Readiness and liveness, in turn; whether it ended or is to be started anew."""
        ready, live = (self.pod.container[k] for k in ("readinessProbe", "livenessProbe"))
        not_ready = not_live = 0
        while not self._ending.is_set():
            if self._ended():
                return True
            not_ready = 0 if probe(self.pod, ready) else not_ready + 1
            if not_ready == 0 and self.ready_since is None:
                self.ready_since = time.monotonic()
            elif not_ready >= ready["failureThreshold"]:
                self.ready_since = None
            not_live = 0 if probe(self.pod, live) else not_live + 1
            if not_live >= live["failureThreshold"]:
                self.probe_kills += 1
                return True
            self._ending.wait(ready["periodSeconds"] * PACE)
        return False

    def _end(self):
        spec = self.pod.of.spec
        pre_stop = self.pod.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.pod.process.wait(pre_stop * PACE)
        self.pod.signal(TERM)
        try:
            left = spec["terminationGracePeriodSeconds"] - pre_stop
            self.exit_status = self.pod.process.wait(left)
        except subprocess.TimeoutExpired:
            self.pod.signal(KILL)
            self.exit_status = self.pod.process.wait()


class Workload:
    """The pods of a Deployment."""

    def __init__(self, node, pods):
        self.node, self.of = node, pods
        self.kept, self.ended = [], []
        self.min_ready_s = pods.owner["spec"]["minReadySeconds"]

    @property
    def name(self):
        return self.of.owner["metadata"]["name"]

    def ready(self):
        return [k for k in self.kept if k.is_ready]

    def scale(self, count):
        """Starts pods, or ends the newest; waits for neither."""
        while len(self.kept) < count:
            self.add()
        for kept in self.kept[count:]:
            self.begin_end(kept)

    def add(self):
        self.kept.append(Kept(self.node.make_pod(self.of)))
        return self.kept[-1]

    def begin_end(self, kept):
        self.kept.remove(kept)
        self.ended.append(kept)
        kept.terminate()

    def roll(self):
        """A rolling update: a new pod, and when it is available an old one goes."""
        for old in list(self.kept):
            new = self.add()
            wait_for(lambda new=new: new.is_available(self.min_ready_s), f"{new.pod.name} is there")
            self.begin_end(old)

    def await_settled(self, timeout_s=120):
        wait_for(lambda: all(k.is_available(self.min_ready_s) for k in self.kept),
                 f"{self.name} has what it should have", timeout_s)
        for kept in self.ended:
            kept.await_gone()
            if kept.pod in self.node.pods:
                self.node.remove_pod(kept.pod)

    def end(self):
        for kept in self.kept:
            kept.terminate()
            kept.pod.signal(TERM)


def wait_for(holds, what, timeout_s=120):
    """Looks until it holds: the machine's two cores are the cluster's."""
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not after {timeout_s} s: {what}")
        threading.Event().wait(LOOK_EVERY_S)
