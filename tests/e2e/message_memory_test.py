"""A message of any length, sent or only announced, to any method of any role takes no memory: gRPC
gathers a message of whatever length it announces before it looks at any limit."""

import contextlib
import unittest

import wire
from by_hand import Role
from catena import CatenaTest
from certificates import Authority, TlsFiles, need_openssl
from cluster import anonymous_memory, await_that
from flood import Flood, pour

MIB = 1 << 20
BIG = 300 * MIB
# Than before: the longest message that is right, what comes between two looks, what malloc keeps.
MORE_MEMORY = 60 * MIB

EVERYWHERE = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
              "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
CHAIN, TOKENIZER = "/catena.v1.ChainService/", "/catena.v1.TokenizerService/"
OWN = {
    "tokenizer": [TOKENIZER + name for name in ("Describe", "Encode", "Decode", "GetPieces")],
    "shard": [CHAIN + name for name in ("Describe", "DebugSequence", "Link")],
    "head": [CHAIN + name for name in ("Describe", "DebugSequence", "Link")],
    "gateway": ["/catena.v1.GenerationService/Generate", "/catena.v1.ClusterService/GetStatus"],
}


class MessageMemoryTest(CatenaTest):

    def setUp(self):
        self.model = self.shared("stories260k-phi3")
        self.options, self.contexts = self.tls()

    def tls(self):
        """The roles' options, and by role the ssl.SSLContext of its callers."""
        return (), dict.fromkeys(OWN)

    @contextlib.contextmanager
    def roles(self):
        """One process of each role, by its name."""
        with contextlib.ExitStack() as stack:
            def start(role, *options):
                return stack.enter_context(
                    Role(role, "--listen", "127.0.0.1:0", *options, *self.options))
            roles = {"tokenizer": start("tokenizer", "--model", self.model),
                     "shard": start("shard", "--model", self.model, "--layers", "0-5"),
                     "head": start("head", "--model", self.model)}
            found = [o for name, role in roles.items() for o in ("--" + name, role.address)]
            roles["gateway"] = start("gateway", *found)
            yield roles

    def flood(self, role, method, size, announced=None, **options):
        return Flood(role.address, method, 1, size, announced, self.contexts[role.role], **options)

    def assert_serves(self, role):
        self.assertTrue(wire.is_serving(role.address, self.contexts[role.role]), role.log())

    def assert_flat(self, role, method, announced, **options):
        before = anonymous_memory(role.pid)

        def look():
            self.assertLess(anonymous_memory(role.pid) - before, MORE_MEMORY)

        with self.flood(role, method, BIG, announced, **options) as flood:
            pour([flood], look)
            look()
            self.assertLess(flood.sent, 4 * MORE_MEMORY)
            self.assert_serves(role)

    def test_a_message_that_is_sent(self):
        with self.roles() as roles:
            for name, role in roles.items():
                for method in (*EVERYWHERE, *OWN[name]):
                    for announced in (None, 1 << 31):
                        with self.subTest(role=name, method=method, announced=announced):
                            self.assert_flat(role, method, announced)

    def test_a_message_that_is_only_announced(self):
        with self.roles() as roles, contextlib.ExitStack() as stack:
            floods = [stack.enter_context(self.flood(role, method, 0, BIG))
                      for name, role in roles.items() for method in (*EVERYWHERE, *OWN[name])]
            for flood in floods:
                flood.wait_for_end()

            def ended():
                pour(floods)
                return all(flood.ended == 1 for flood in floods)

            await_that(ended, "calls whose messages do not come are ended")
            for role in roles.values():
                self.assert_serves(role)

    def test_a_message_after_one_that_was_right(self):
        with self.roles() as roles:
            for name in ("shard", "head"):
                with self.subTest(role=name):
                    hello = self.hello(roles[name])
                    self.assert_flat(roles[name], CHAIN + "Link", None, hello=hello)
            rules = wire.proto(_1=b"", _2=b"\x01")
            with self.subTest(role="tokenizer"):
                self.assert_flat(roles["tokenizer"], TOKENIZER + "Decode", None, hello=rules)
            with self.subTest(role="gateway"):
                self.assert_flat(roles["gateway"], EVERYWHERE[-1], None, hello=wire.proto(_7="*"))

    def hello(self, role):
        """Of a gateway that is right in everything but what it sends next."""
        with wire.connect(role.address, self.contexts[role.role]) as connection:
            (answer,) = wire.Call(connection, CHAIN + "Describe")
        incarnation = wire.fields_of(wire.fields_of(answer)[1])[2]
        hello = wire.proto(_1=1, _2=77, _3=incarnation, _4=1, _5=1, _9=b"p" * 16)
        return wire.proto(_1=wire.proto(_1=hello))


class MemberMessageMemoryTest(MessageMemoryTest):
    """The same where the cluster asks for certificates, from one that has one."""

    def tls(self):
        need_openssl(self)
        files = TlsFiles(self.temp_dir(), Authority(self.temp_dir(), "authority"))
        contexts = dict.fromkeys(OWN, files.context())
        contexts["gateway"] = files.context(member=False)
        return files.role_options, contexts


if __name__ == "__main__":
    unittest.main()
