"""Who reaches a stage's port and is not who it says it is ends nobody's streams, makes the stage
call nobody, and takes little of its memory and descriptors."""

import contextlib
import itertools
import os
import socket
import unittest

import wire
from certificates import Authority, TlsFiles, need_openssl
from cluster import Cluster, anonymous_memory, await_that
from streams import Stream, StreamCase

CHAIN = "/catena.v1.ChainService/"
GATEWAY = 1  # of Role
LANES = (1, 2, 3)
PROOF = b"not the gateway's"[:16]
WELCOME, REFUSED = 2, 8  # kinds of Frame

CALLERS = 1500  # more than may have links to one process
# Than before, that a process may hold while a third of them are there: gRPC and TLS have buffers
# for each connection.
MORE_MEMORY = CALLERS // 3 * (160 << 10)
MORE_DESCRIPTORS = 100  # afterwards


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class HostilePeerTest(StreamCase):

    def cluster(self):
        """The cluster, and the ssl.SSLContext with which its stages are reached."""
        return Cluster(self, self.model), None

    @contextlib.contextmanager
    def call(self, cluster, role, method, request=b"", last=True):
        with wire.connect(cluster.address(role), self.tls) as connection:
            yield wire.Call(connection, CHAIN + method, request, last)

    def incarnation(self, cluster, role):
        with self.call(cluster, role, "Describe") as call:
            (answer,) = call
        return wire.fields_of(wire.fields_of(answer)[1])[2]

    def gateways_incarnation(self, cluster):
        """From whoever may ask for the cluster's status: no secret among operators."""
        with wire.connect(cluster.gateway, self.tls) as connection:
            (answer,) = wire.Call(connection, "/catena.v1.ClusterService/GetStatus")
        return wire.fields_of(wire.fields_of(answer)[6])[2]

    def hello(self, incarnation, stage, lane):
        hello = wire.proto(_1=1, _2=incarnation, _3=stage, _4=lane, _5=GATEWAY, _9=PROOF)
        return wire.proto(_1=wire.proto(_1=hello))

    def test_a_stranger_with_the_gateways_incarnation_ends_no_stream(self):
        cluster, self.tls = self.cluster()
        with cluster:
            stream = Stream(self, cluster)
            stream.await_more()
            gateway = self.gateways_incarnation(cluster)
            for role, lane in itertools.product(("shard", "head"), LANES):
                stage = self.incarnation(cluster, role)
                with self.subTest(role=role, lane=lane), self.call(
                        cluster, role, "Link", self.hello(gateway, stage, lane), False) as call:
                    self.assertEqual(call.end(), wire.PERMISSION_DENIED)
            self.assert_moves(stream)

    def test_an_open_makes_a_stage_call_nobody_outside_of_its_cluster(self):
        cluster, self.tls = self.cluster()
        with cluster, socket.create_server(("127.0.0.1", 0)) as listener:
            stage = self.incarnation(cluster, "shard")
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            opening = wire.proto(
                _1=wire.proto(_1=7, _2=1), _3=wire.proto(_1=address, _2=8), _4=1, _5=4, _6=8, _7=3,
                _8=16, _10=1, _11=7)
            with self.call(cluster, "shard", "Link", self.hello(7, stage, LANES[0]), False) as call:
                answers = iter(call)
                self.assertIn(WELCOME, wire.fields_of(wire.fields_of(next(answers))[1]))
                call.say(wire.proto(_1=wire.proto(_3=opening)))
                answer = wire.fields_of(wire.fields_of(next(answers))[1])
            self.assertIn(REFUSED, answer)
            refused = wire.fields_of(answer[REFUSED])
            self.assertEqual(refused[3], wire.FAILED_PRECONDITION)
            self.assertIn("--next", refused[4].decode())
            listener.setblocking(False)
            self.assertRaises(BlockingIOError, listener.accept)

    def test_callers_without_end_take_little(self):
        cluster, self.tls = self.cluster()
        with cluster:
            stream = Stream(self, cluster)
            stream.await_more()
            stage = self.incarnation(cluster, "shard")
            (pid,) = {p["pid"] for p in cluster.processes
                      if p["address"] == cluster.address("shard")}
            memory, files = anonymous_memory(pid), descriptors(pid)
            with contextlib.ExitStack() as calls:
                for i in range(CALLERS // 3):
                    hello = self.hello(1000 + i, stage, LANES[i % 3])
                    calls.enter_context(self.call(cluster, "shard", "Link", hello, False))
                self.assertLess(anonymous_memory(pid) - memory, MORE_MEMORY)
            for i in range(CALLERS):
                with self.call(cluster, "shard", "Link", self.hello(10_000 + i, stage, 1), False):
                    pass
            await_that(lambda: descriptors(pid) < files + MORE_DESCRIPTORS, "they are gone")
            self.assertLess(anonymous_memory(pid) - memory, MORE_MEMORY)
            self.assert_moves(stream)


class HostileMemberTest(HostilePeerTest):
    """The same from one that has a certificate of the cluster."""

    def cluster(self):
        need_openssl(self)
        files = TlsFiles(self.temp_dir(), Authority(self.temp_dir(), "authority"))
        cluster = Cluster(self, self.model, *files.role_options,
                          client=("--tls-ca", files.authority))
        return cluster, files.context()


if __name__ == "__main__":
    unittest.main()
