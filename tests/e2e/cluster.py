"""A cluster of `catena up` for a test: started, asked how it is, stopped; nothing may be left."""

import contextlib
import json
import os
import pathlib
import selectors
import signal
import subprocess
import tempfile
import threading
import time

from catena import COMMAND, TIMEOUT_S

STOP_S = 10  # the contract: `up` ends so soon after SIGINT
PAUSE_S = 0.02  # between questions


def is_running(pid):
    """Whether a process is there and no zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def children_of(pid):
    """The processes that `pid` started and that still run."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text(encoding="utf-8").split()]


def await_that(holds, what, timeout=60, pause_s=PAUSE_S):
    """Asks until `holds()` is true, with pauses: questions take processors from who is asked."""
    end = time.monotonic() + timeout
    pause = threading.Event()
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not after {timeout} s: {what}")
        pause.wait(pause_s)


def anonymous_memory(pid):
    """Bytes of memory that is no file's."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


@contextlib.contextmanager
def frozen(pid):
    """The process neither runs nor ends meanwhile, as on a machine that hangs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Cluster:
    """`catena up --json` with the options given; ready once constructed. A context manager that
    stops it and checks that it went as the contract says. `client`: the options with which other
    commands are let in."""

    def __init__(self, test, model, *options, env=None, client=()):
        self.test = test
        self.client = client
        self.temp = tempfile.TemporaryDirectory(prefix="cluster-")
        self.stderr = open(pathlib.Path(self.temp.name, "stderr"), "w+", encoding="utf-8")
        self.sockets = pathlib.Path(self.temp.name, "sockets")  # its TMPDIR
        self.sockets.mkdir()
        command = [COMMAND, "up", "--model", model, "--json", *map(str, options)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.stderr,
            env={**os.environ, "TMPDIR": str(self.sockets), **(env or {})})
        try:
            self.ready = json.loads(self._first_line())
        except BaseException:
            self.kill()
            raise
        self.gateway = self.ready["gateway"]
        self.processes = self.ready["processes"]

    def _first_line(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(TIMEOUT_S):
                raise AssertionError(f"`up` is not ready after {TIMEOUT_S} s: {self.log()}")
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"`up` ended: {self.log()}")
        return line

    def log(self):
        """What `up` and its processes have said so far."""
        return pathlib.Path(self.stderr.name).read_text(encoding="utf-8", errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            print(self.log())
            self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self, by=signal.SIGINT):
        """Ends it by a signal: with 0, in time, and leaving neither processes nor files."""
        if self.process.returncode is not None:
            return
        children = children_of(self.process.pid)
        self.process.send_signal(by)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            log = self.log()
            self.kill()
            self.test.fail(f"`up` still runs {STOP_S} s after {by.name}: {log}")
        log = self.log()
        rest = self.process.stdout.read()
        left = [child for child in children if is_running(child)]
        files = list(self.sockets.iterdir())
        self._close()
        self.test.assertEqual((self.process.returncode, rest, left, files), (0, b"", [], []), log)

    def _close(self):
        self.process.stdout.close()
        self.stderr.close()
        with contextlib.suppress(OSError):
            self.temp.cleanup()

    def pids(self, role, layers=None):
        return [p["pid"] for p in self.status()["processes"]
                if p["role"] == role and layers in (None, p["layers"])]

    def address(self, role):
        """Of the first process of the role."""
        return next(p["address"] for p in self.processes if p["role"] == role)

    def run(self, *args, **options):
        """A finished `catena` command that talks to this gateway."""
        return self.test.run_bytes(*args, "--gateway", self.gateway, *self.client, **options)

    def status(self):
        """`status --json`, whether the cluster is ready or not; None where no gateway answers."""
        done = self.run("status", "--json")
        return json.loads(done.stdout) if done.stdout else None

    def has_replaced(self, pid):
        """Whether the cluster is ready and its gateway knows `pid` no more."""
        done = self.run("status", "--json")
        return done.returncode == 0 and all(
            p["pid"] != pid for p in json.loads(done.stdout)["processes"])

    def is_ready(self):
        return self.run("status", "--json").returncode == 0
