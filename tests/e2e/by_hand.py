"""Clusters of roles that a test starts one by one: some of another release, others with a front
before each stage, so that single edges between them can fail (edges.py)."""

import contextlib
import json
import os
import pathlib
import selectors
import signal
import subprocess
import tempfile

from catena import COMMAND, TIMEOUT_S
from edges import Edges

# A Close may be lost with its link as the gateway ends: a stage holds what it was to end for its
# lease, 10 s.
STOP_S = 20


class Role:
    """A process of a role; `address` is where it serves. A context manager that stops it.
    `program`: the `catena` that is run."""

    def __init__(self, role, *options, program=COMMAND):
        self.role = role
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8")
        ready, said = os.pipe()
        try:
            self._process = subprocess.Popen(
                [program, role, "--ready-fd", str(said), *map(str, options)], pass_fds=[said],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._stderr)
        finally:
            os.close(said)
        self.pid = self._process.pid
        with os.fdopen(ready, encoding="utf-8") as line, selectors.DefaultSelector() as selector:
            selector.register(line, selectors.EVENT_READ)
            self.address = line.readline().strip() if selector.select(TIMEOUT_S) else ""
        if not self.address:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the {role} is not ready: {self.log()}")

    def log(self):
        if self._stderr.closed:
            return ""
        # Opened anew: what is read must not move the place where the process writes.
        path = f"/proc/self/fd/{self._stderr.fileno()}"
        return pathlib.Path(path).read_text(encoding="utf-8")

    def await_end(self):
        """Its exit status, once it has ended by itself."""
        return self._process.wait(TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the {self.role} still runs {STOP_S} s after SIGTERM: "
                                 f"{self.log()[-4000:]}") from None
        finally:
            self._stderr.close()


class RoleCluster:
    """A tokenizer, shards of the given layers, a head and a gateway, as a context manager.
    Shards are named shard0, shard1, …; the others by their roles. `stage_options`: of shards and
    the head. `program_of`: the `catena` of a name."""

    client = ()

    def __init__(self, test, model, layers, stage_options=(), gateway_options=(),
                 tokenizer_options=(), program_of=lambda name: COMMAND):
        self.test = test
        self.roles = {}
        self._options = {}  # of each name: its command
        self._program_of = program_of
        self._model = ("--model", model)
        self._stage_options = stage_options
        with contextlib.ExitStack() as self._stack:
            self._prepare()
            self.start("tokenizer", "tokenizer", *self._model, *tokenizer_options)
            for i, blocks in enumerate(layers):
                self.start_shard(f"shard{i}", blocks)
            self.start("head", "head", *self._model, *stage_options)
            self.start("gateway", "gateway", *gateway_options,
                       "--tokenizer", self.roles["tokenizer"].address,
                       "--shard", ",".join(self._shards()), "--head", self._found_at("head"))
            self.gateway = self.roles["gateway"].address
            self._stack = self._stack.pop_all()

    def _prepare(self):
        """Before anything is started."""

    def _shards(self):
        return [self._found_at(name) for name in self.roles if name.startswith("shard")]

    def _found_at(self, name):
        """Where the gateway finds it."""
        return self.roles[name].address

    def start_shard(self, name, blocks, *options):
        self.start(name, "shard", *self._model, "--layers", blocks, *self._stage_options, *options)

    def start(self, name, *command):
        self._options[name] = command
        program = self._program_of(name)
        self.roles[name] = self._stack.enter_context(Role(*command, program=program))

    def start_again(self, name):
        """In the place of one that has ended, at its address."""
        command = [*self._options[name], "--listen", self.roles[name].address]
        self.roles[name] = self._stack.enter_context(
            Role(*command, program=self._program_of(name)))

    def replace(self, name):
        """It is asked to end, and another takes its place."""
        self.roles[name].__exit__()
        self.start_again(name)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with self._stack:
            if kind is not None:
                print(self.log())

    def log(self):
        return "".join(f"--- {name}\n{role.log()}" for name, role in self.roles.items())

    def run(self, *args, **options):
        """A finished `catena` command that talks to this gateway."""
        return self.test.run_bytes(*args, "--gateway", self.gateway, **options)

    def status(self):
        done = self.run("status", "--json")
        return json.loads(done.stdout) if done.stdout else None

    def is_ready(self):
        return self.run("status", "--json").returncode == 0

    def all_serve(self):
        status = self.status()
        return status is not None and all(p["health"] == "serving" for p in status["processes"])


class ClusterByHand(RoleCluster):
    """One with a front before each stage: `fronts` are the addresses at which the gateway finds
    them, by name. `absent`: shards that it looks for too, and that are started later."""

    def __init__(self, *args, absent=(), **options):
        self._absent = absent
        self.fronts = {}
        super().__init__(*args, **options)

    def _prepare(self):
        self.edges = self._stack.enter_context(Edges())

    def _shards(self):
        return super()._shards() + [self._found_at(name) for name in self._absent]

    def _found_at(self, name):
        if name not in self.fronts:
            self.fronts[name] = self.edges.front(name)
        return self.fronts[name]

    def await_end(self, name):
        """The exit status of one that ends by itself, once it is gone."""
        self.edges.forget(name)
        return self.roles[name].await_end()

    def start(self, name, *command):
        super().start(name, *command)
        self.edges.know(name, self.roles[name].pid, self.roles[name].address)
