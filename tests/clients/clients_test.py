"""Programs in other languages against a cluster: each does what `catena generate` does.

Needs the packages of tests/requirements.txt, Ruby and ruby-grpc-tools. A client whose language is
absent is skipped, or fails where CI is true.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

# pylint: disable=wrong-import-position
from catena import TIMEOUT_S, CatenaTest  # noqa: E402
from cluster import Cluster, await_that  # noqa: E402

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
