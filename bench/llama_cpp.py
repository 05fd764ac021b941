"""llama.cpp as a system of common.py, measured by its own programs.

LLAMA_CPP  the folder of llama-bench, llama-batched-bench and ggml-rpc-server
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess

import common

HOST = "127.0.0.1"
CELLS = 256  # a sequence's KV cache is rounded up to such


def program(name):
    path = pathlib.Path(os.environ.get("LLAMA_CPP", "")) / name
    if not path.is_absolute() or not path.exists():
        raise SystemExit(f"set LLAMA_CPP to the folder that has {name}, as an absolute path")
    return path


class LlamaCpp:
    """A model as llama.cpp runs it by default: mapped, and repacked for the CPU."""

    def __init__(self, model, threads, flash_attention, options=()):
        self.bench, self.batched_bench = map(program, ("llama-bench", "llama-batched-bench"))
        self.options = ["-m", model, "-t", threads, "-fa", flash_attention, *options]

    def prefill(self, tokens):
        return self._bench("-p", tokens, "-n", 0)

    def decode(self, streams, tokens, depth=0):
        if streams == 1:
            return self._bench("-p", 0, "-n", tokens, "-d", depth)
        return self._batched_bench(streams, tokens, depth or common.SHORT_PROMPT)

    def _bench(self, *options):
        """The program warms up before it measures."""
        command = [self.bench, *self.options, *options, "-r", 1, "-o", "json"]
        (result,) = json.loads(common.output(command, stderr=subprocess.DEVNULL))
        return result["avg_ts"]

    def _batched_bench(self, streams, tokens, depth):
        cells = -(-(depth + tokens) // CELLS) * CELLS
        text = common.output(
            [self.batched_bench, *self.options, "-c", streams * cells, "-npp", depth,
             "-ntg", tokens, "-npl", streams, "--output-format", "jsonl"],
            stderr=subprocess.DEVNULL)
        (result,) = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
        assert (result["pl"], result["tg"]) == (streams, tokens)
        return result["speed_tg"]


def _free_port():
    with socket.create_server((HOST, 0)) as taken:
        return taken.getsockname()[1]


def _await_listening(process, port):
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((HOST, port)).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise RuntimeError(f"ggml-rpc-server ended with status {process.returncode}")


@contextlib.contextmanager
def _rpc_server(threads):
    port = _free_port()
    with subprocess.Popen([program("ggml-rpc-server"), "-H", HOST, "-p", str(port),
                           "-t", str(threads)], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            _await_listening(process, port)
            yield f"{HOST}:{port}"
        finally:
            process.terminate()


@contextlib.contextmanager
def rpc_servers(count, threads):
    """Options that put all layers of a model on so many servers."""
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(_rpc_server(threads)) for _ in range(count)]
        yield ["--rpc", ",".join(addresses), "-ngl", 99]
