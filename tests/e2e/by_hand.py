"""A cluster of roles that a test starts one by one, with a front before each stage, so that single
edges between them can fail (edges.py)."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile

from catena import COMMAND, TIMEOUT_S
from edges import Edges

STOP_S = 10


class Role:
    """A process of a role; `address` is where it serves. A context manager that stops it."""

    def __init__(self, role, *options):
        self.role = role
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8")
        ready, said = os.pipe()
        try:
            self._process = subprocess.Popen(
                [COMMAND, role, "--ready-fd", str(said), *map(str, options)], pass_fds=[said],
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
        self._stderr.seek(0)
        return self._stderr.read()

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
            raise AssertionError(f"the {self.role} still runs {STOP_S} s after SIGTERM") from None
        finally:
            self._stderr.close()


class ClusterByHand:
    """A tokenizer, shards of the given layers, a head and a gateway, as a context manager.
    Shards are named shard0, shard1, …; the others by their roles. `stage_options`: of shards and
    the head. `fronts`: the addresses at which the gateway finds them, by name. `absent`: shards
    that it looks for too, and that are started later."""

    client = ()

    def __init__(self, test, model, layers, stage_options=(), gateway_options=(), absent=()):
        self.test = test
        self.roles = {}
        self._model = ("--model", model)
        self._stage_options = stage_options
        with contextlib.ExitStack() as self._stack:
            self.edges = self._stack.enter_context(Edges())
            self._start("tokenizer", "tokenizer", *self._model)
            for i, blocks in enumerate(layers):
                self.start_shard(f"shard{i}", blocks)
            self._start("head", "head", *self._model, *stage_options)
            shards = [*(f"shard{i}" for i in range(len(layers))), *absent]
            self.fronts = {name: self.edges.front(name) for name in (*shards, "head")}
            self._start("gateway", "gateway", *gateway_options,
                        "--tokenizer", self.roles["tokenizer"].address,
                        "--shard", ",".join(self.fronts[name] for name in shards),
                        "--head", self.fronts["head"])
            self.gateway = self.roles["gateway"].address
            self._stack = self._stack.pop_all()

    def start_shard(self, name, blocks):
        self._start(name, "shard", *self._model, "--layers", blocks, *self._stage_options)

    def await_end(self, name):
        """The exit status of one that ends by itself, once it is gone."""
        self.edges.forget(name)
        return self.roles[name].await_end()

    def _start(self, name, *command):
        role = self._stack.enter_context(Role(*command))
        self.roles[name] = role
        self.edges.know(name, role.pid, role.address)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.log())
        self._stack.close()

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
