"""Programs in other languages against a cluster: each does what `catena generate` does.

Needs the packages of tests/requirements.txt, Ruby and ruby-grpc-tools. A client whose language is
absent is skipped, or fails where CI is true.
"""

import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

# pylint: disable=wrong-import-position
from catena import TIMEOUT_S, CatenaTest  # noqa: E402
from cluster import Cluster, await_that  # noqa: E402
from streams import StreamCase  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parent
PROMPT = "Once upon a time"


class ClientsTest(CatenaTest):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")

    def check(self, *client):
        """Runs a client on a cluster and compares what it prints with one process's output."""
        with Cluster(self, self.model, "--stages", 2) as cluster:
            done = subprocess.run([*client, cluster.gateway, PROMPT], capture_output=True,
                                  timeout=TIMEOUT_S, check=False)
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""))
        alone = self.object_of("generate", "-m", self.model, "--prompt", PROMPT, "--json",
                               "--temperature", 0.8, "--top-k", 40, "--seed", 7,
                               "--max-tokens", 20)
        (tokens,) = self.tokenize(self.model, [{"text": PROMPT}])
        model, ids, text = done.stdout.decode().split("\n", 2)
        self.assertRegex(model, r"^model: \S.*, 512 tokens$")
        self.assertEqual([int(i) for i in ids.split()[1:]][-len(tokens["ids"]):], tokens["ids"])
        self.assertEqual(text, f"text: {alone['text']}\nended: CANCELLED\n")

    def test_python(self):
        try:
            import grpc_reflection  # pylint: disable=import-outside-toplevel,unused-import
        except ImportError:
            self.need(False, "the Python package grpcio-reflection is absent")
        self.check(sys.executable, str(FOLDER / "client.py"))

    def test_ruby(self):
        protoc = shutil.which("grpc_tools_ruby_protoc")
        self.need(protoc and shutil.which("ruby"), "ruby-grpc or ruby-grpc-tools is absent")
        stubs = self.temp_dir()
        protos = map(str, (ROOT / "proto/catena/v1").glob("*.proto"))
        subprocess.run([protoc, f"-I{ROOT / 'proto'}", f"--ruby_out={stubs}",
                        f"--grpc_out={stubs}", *protos], check=True, timeout=TIMEOUT_S)
        self.check("ruby", "-I", str(stubs), str(FOLDER / "client.rb"))


class CodesTest(CatenaTest):
    """What goes wrong has the code of the contract."""

    def test_codes(self):
        import grpc  # pylint: disable=import-outside-toplevel
        from client import Generation  # pylint: disable=import-outside-toplevel
        bad = "INVALID_ARGUMENT"
        ids = {"ids": [1]}
        with Cluster(self, self.shared("stories260k-phi3")) as cluster, \
                grpc.insecure_channel(cluster.gateway) as channel:
            generation = Generation(channel)
            for code, request in (
                    (bad, {"tokens": ids, "sampling": {"temperature": -1}}),
                    (bad, {"tokens": ids, "sampling": {"max_tokens": 0}}),
                    (bad, {"tokens": ids, "sampling": {"logit_bias": {9999: 1}}}),
                    (bad, {"tokens": {"ids": [512]}}),
                    (bad, {"tokens": {"ids": [-1]}}),
                    (bad, {"tokens": {"ids": [1] * 5000}}),
                    (bad, {"tokens": {"ids": []}}),
                    (bad, {}),
                    ("NOT_FOUND", {"model": "other", "tokens": ids})):
                with self.subTest(request=str(request)[:80]):
                    with self.assertRaises(grpc.RpcError) as raised:
                        list(generation.Generate(**request))
                    self.assertEqual(raised.exception.code().name, code)
                    self.assertGreater(len(raised.exception.details()), 10)
            self.assertTrue(list(generation.Generate(tokens=ids)))


def bits(number):
    """Of the float32 that it is."""
    return struct.pack("<f", number)


class Reader(threading.Thread):
    """Reads a stream to its end; `responses` are those that have come so far."""

    def __init__(self, stream):
        super().__init__()
        self.stream = stream
        self.responses = []
        self.error = None
        self.start()

    def run(self):
        try:
            for response in self.stream:
                self.responses.append(response)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def tokens(self):
        return sum(len(r.token_ids) for r in self.responses)

    def outputs(self, n):
        """Of each sequence: ids, text, log-probabilities as the bits of float32, and seed."""
        out = [{"token_ids": [], "text": "", "logprobs": []} for _ in range(n)]
        for r in self.responses:
            out[r.index]["token_ids"] += r.token_ids
            out[r.index]["text"] += r.text
            out[r.index]["logprobs"] += [
                (bits(t.chosen.logprob), [(top.id, bits(top.logprob)) for top in t.top])
                for t in r.logprobs]
        return out


class ResumeTest(StreamCase):
    """A text that breaks off, and what a client asks to go on with it."""

    PROMPT = (1, 320, 417)
    REQUESTS = (
        {"temperature": 0},
        {"temperature": 0.9, "top_k": 50, "repetition_penalty": 1.1, "presence_penalty": 0.2,
         "frequency_penalty": 0.1, "logprobs": True, "top_logprobs": 2},
        {"temperature": 1, "n": 2},
    )
    TOKENS = 2000

    def alone(self, seed, fields):
        """The same of one process."""
        options = ["--seed", str(seed)]
        for name, value in fields.items():
            if name == "logprobs":
                continue
            flag = name.replace("top_logprobs", "logprobs").replace("_", "-")
            options += [f"--{flag}", str(value)]
        return [{"token_ids": o["token_ids"], "text": o["text"],
                 "logprobs": [(bits(t["logprob"]),
                               [(top["id"], bits(top["logprob"])) for top in t["top"]])
                              for t in o["logprobs"] or []]}
                for o in self.lines_of(
                    "generate", "--model", self.model, "--json", "--ignore-eos", "--max-tokens",
                    self.TOKENS, "--prompt-tokens", ",".join(map(str, self.PROMPT)), *options)]

    def test_a_gateway_that_is_killed_changes_nothing_of_a_text(self):
        import grpc  # pylint: disable=import-outside-toplevel
        from client import Generation  # pylint: disable=import-outside-toplevel
        with Cluster(self, self.model) as cluster, \
                grpc.insecure_channel(cluster.gateway) as channel:
            generation = Generation(channel)
            readers = [Reader(generation.Generate(
                tokens={"ids": self.PROMPT},
                sampling={"max_tokens": self.TOKENS, "ignore_eos": True, **fields}))
                for fields in self.REQUESTS]
            for _ in range(2):
                before = [r.tokens() for r in readers]
                await_that(lambda: all(r.tokens() > b for r, b in zip(readers, before)),
                           "all have got more")
                (pid,) = cluster.pids("gateway")
                self.assertTrue(all(reader.is_alive() for reader in readers))
                os.kill(pid, signal.SIGKILL)
                await_that(lambda: cluster.has_replaced(pid), "another has taken its place")
            for reader, fields in zip(readers, self.REQUESTS):
                reader.join(TIMEOUT_S)
                self.assertIsNone(reader.error)
                with self.subTest(fields=fields):
                    seed = reader.responses[0].start.seed
                    want = self.alone(seed, fields)
                    self.assertTrue(reader.outputs(len(want)) == want, "another text")

    def test_wherever_it_breaks_off_the_rest_is_the_same(self):
        import grpc  # pylint: disable=import-outside-toplevel
        from client import Generation  # pylint: disable=import-outside-toplevel

        class Lost(grpc.RpcError):
            def code(self):
                return grpc.StatusCode.UNAVAILABLE

        def first(responses, count):
            for response in responses:
                if count == 0:
                    raise Lost()
                count -= 1
                yield response

        # Tokens of a byte each, of which some are halves of characters.
        halves = {3 + byte: 100 for byte in "é€a".encode()}
        greedy = {"temperature": 0, "max_tokens": 20, "ignore_eos": True}
        with Cluster(self, self.model) as cluster, \
                grpc.insecure_channel(cluster.gateway) as channel:
            generation = Generation(channel)
            for sampling in (
                    greedy,
                    {**greedy, "stop": ["Ann"]},
                    {**greedy, "stop": ["Ann"], "min_tokens": 10},
                    {**greedy, "stop_token_ids": [416]},
                    {"max_tokens": 12, "temperature": 1, "logit_bias": halves, "n": 2, "seed": 1},
                    {"max_tokens": 60, "temperature": 1, "n": 3, "seed": 8, "logprobs": True},
                    {"max_tokens": 30, "temperature": 1, "speculate": 4, "seed": 2,
                     "repetition_penalty": 1.2}):
                with self.subTest(sampling=str(sampling)):
                    request = {"tokens": {"ids": self.PROMPT}, "sampling": sampling}
                    n = sampling.get("n", 1)
                    whole = Reader(generation.Generate(**request))
                    whole.join(TIMEOUT_S)
                    self.assertTrue(any(o["token_ids"] for o in whole.outputs(n)))
                    for count in range(1, len(whole.responses)):
                        stream = generation.Generate(**request)
                        # pylint: disable=protected-access
                        stream._call = first(stream._call, count)
                        broken = Reader(stream)
                        broken.join(TIMEOUT_S)
                        self.assertIsNone(broken.error)
                        self.assertEqual(broken.outputs(n), whole.outputs(n), count)
                        self.assertEqual(sum(r.HasField("finish") for r in broken.responses), n)

    def test_what_cannot_go_on_is_refused_with_a_reason(self):
        import grpc  # pylint: disable=import-outside-toplevel
        from client import Generation  # pylint: disable=import-outside-toplevel
        with Cluster(self, self.model) as cluster, \
                grpc.insecure_channel(cluster.gateway) as channel:
            generation = Generation(channel)
            sampling = {"temperature": 0, "max_tokens": 8, "ignore_eos": True, "seed": 5}
            whole = list(generation.Generate(tokens={"ids": self.PROMPT}, sampling=sampling))
            ids = [i for r in whole for i in r.token_ids]
            numerics = whole[0].start.numerics_id
            self.assertTrue(numerics)

            def resumed(outputs, numerics_id=numerics, **changed):
                fields = {name: value for name, value in {**sampling, **changed}.items()
                          if value is not None}
                return list(generation.Generate(
                    tokens={"ids": self.PROMPT}, sampling=fields,
                    resume={"sequences": [{"token_ids": o} for o in outputs],
                            "numerics_id": numerics_id}))

            for have in range(len(ids) + 1):
                rest = resumed([ids[:have]])
                self.assertEqual([i for r in rest for i in r.token_ids], ids[have:], have)
                self.assertTrue(rest[-1].HasField("finish"))
                self.assertEqual(rest[-1].finish.completion_tokens, 8)
            bad = "INVALID_ARGUMENT"
            for code, say, asked in (
                    (bad, "outside the vocabulary", lambda: resumed([[3, 512]])),
                    (bad, "outside the vocabulary", lambda: resumed([[-1]])),
                    (bad, "more than max_tokens", lambda: resumed([[3] * 9])),
                    (bad, "resume has 2 sequences", lambda: resumed([[3], [3]])),
                    (bad, "resume has 0 sequences", lambda: resumed([])),
                    (bad, "seed", lambda: resumed([[3]], seed=None)),
                    ("FAILED_PRECONDITION", "begin it anew",
                     lambda: resumed([ids[:2]], "another arithmetic"))):
                with self.subTest(say=say):
                    with self.assertRaises(grpc.RpcError) as raised:
                        asked()
                    self.assertEqual(raised.exception.code().name, code)
                    self.assertIn(say, raised.exception.details())


class StandardServicesTest(CatenaTest):
    """Health and reflection, as clients of gRPC's own packages see them."""

    def test_health_is_checked_and_watched(self):
        # pylint: disable=import-outside-toplevel
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc
        serving, not_serving, unknown = (
            health_pb2.HealthCheckResponse.ServingStatus.Value(name)
            for name in ("SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"))
        with Cluster(self, self.shared("stories260k-phi3")) as cluster, \
                grpc.insecure_channel(cluster.gateway) as channel:
            stub = health_pb2_grpc.HealthStub(channel)

            def request(name):
                return health_pb2.HealthCheckRequest(service=name)

            for name in ("", "readiness", "liveness", "catena.v1.GenerationService"):
                self.assertEqual(stub.Check(request(name), timeout=20).status, serving, name)
            with self.assertRaises(grpc.RpcError) as raised:
                stub.Check(request("nobody"), timeout=20)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)
            nobody = stub.Watch(request("nobody"), timeout=20)
            self.assertEqual(next(nobody).status, unknown)
            watch = stub.Watch(request(""), timeout=60)
            self.assertEqual(next(watch).status, serving)
            cluster.stop()
            self.assertEqual(next(watch).status, not_serving)
            with self.assertRaises(grpc.RpcError) as raised:
                next(watch)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_reflection_shows_what_is_public_and_that_alone(self):
        # pylint: disable=import-outside-toplevel
        import grpc
        from google.protobuf import descriptor_pool
        from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
            ProtoReflectionDescriptorDatabase)
        with Cluster(self, self.shared("stories260k-phi3")) as cluster, \
                grpc.insecure_channel(cluster.gateway) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            self.assertCountEqual(database.get_services(),
                                  ["catena.v1.GenerationService", "grpc.health.v1.Health",
                                   "grpc.reflection.v1alpha.ServerReflection"])
            pool = descriptor_pool.DescriptorPool(database)
            for name in database.get_services():
                self.assertTrue(pool.FindServiceByName(name).methods)
            self.assertEqual(
                pool.FindFileByName("catena/v1/generation.proto").package, "catena.v1")
            for name in ("catena.v1.ClusterService", "catena.v1.ChainService", "nobody", ""):
                with self.assertRaises(KeyError):
                    database.FindFileContainingSymbol(name)
            self.assertEqual(
                list(database.FindAllExtensionNumbers("catena.v1.GenerateRequest")), [])


class DebugTest(CatenaTest):

    def test_a_sequence_is_shown_at_each_stage_of_its_route(self):
        import grpc  # pylint: disable=import-outside-toplevel
        from client import Generation  # pylint: disable=import-outside-toplevel
        with Cluster(self, self.shared("stories260k-phi3"), "--stages", 3) as cluster, \
                grpc.insecure_channel(cluster.gateway) as channel:
            stages = []

            def caught():
                """A sequence may end before it is asked about; then another one is."""
                stream = Generation(channel).Generate(
                    tokens={"ids": [1]}, sampling={"max_tokens": 500, "ignore_eos": True})
                done = cluster.run("debug", next(stream).start.sequence_id, "--json")
                stages[:] = json.loads(done.stdout)["stages"] if done.returncode == 0 else []
                stream.cancel()
                return stages and all(stage["open"] for stage in stages)

            await_that(caught, "a running sequence was shown")
            self.assertEqual([(s["role"], s["layers"]) for s in stages],
                             [("gateway", None), ("shard", "0-1"), ("shard", "2-3"),
                              ("shard", "4-4"), ("head", None)])
            for stage in stages:
                self.assertLessEqual(stage["length"], stage["queued_end"], stage)


if __name__ == "__main__":
    unittest.main()
