// Who reaches the port of a stage and is no member of its cluster, or not the one it says it is:
// nonsense ends its own stream alone, and nobody's streams are ended or answered by another.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/services/common/certificates.h"
#include "tests/services/link/raw_peer.h"

namespace catena {
namespace {

using ::testing::HasSubstr;

constexpr Lane kAllLanes[] = {Lane::kControl, Lane::kDecode, Lane::kBulk};

class HostilePeer : public ::testing::Test {
 protected:
  std::unique_ptr<GrpcNode> Start(const LinkIdentity& self, Receiver* receiver) {
    return std::make_unique<GrpcNode>(
        GrpcNode::Options{self, rig_.NewAddress(), rig_.tls, limits::kMaxQueuedBytes, receiver});
  }

  // How `node` ends a stream that begins with `hello`.
  static grpc::Status EndOf(GrpcNode& node, const grpc::ByteBuffer& hello,
                            const TlsOptions& tls = {}) {
    RawPeer peer(node.server().address(), tls);
    peer.Write(hello);
    return peer.WaitForEnd();
  }
  static void ExpectDenied(GrpcNode& node, const grpc::ByteBuffer& hello) {
    const grpc::Status status = EndOf(node, hello);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED) << status.error_message();
  }

  GrpcRig rig_{true};
  RecordingReceiver at_a_, at_b_;
};

grpc::ByteBuffer CloseOf(uint64_t number) {
  v1::Frame frame;
  Encode(Close{{7, number}}, {}, &frame);
  return ToBytes(frame);
}

TEST_F(HostilePeer, GarbageEndsOnlyItsOwnStream) {
  const auto a = Start(TestIdentity(1), &at_a_), b = Start(TestIdentity(2), &at_b_);
  a->transport().Connect(b->replica());
  a->transport().Send({2, Lane::kControl, Close{{1, 1}}});
  ASSERT_TRUE(at_b_.WaitForMessages(1));
  v1::Frame bad;
  bad.mutable_need_from()->mutable_sequence()->set_gateway(1);
  bad.mutable_need_from()->set_position(-1);
  for (const grpc::ByteBuffer& bytes : {ToBytes(bad), ToBytes({}), Hello(7, 2, Lane::kDecode)}) {
    RawPeer peer(b->server().address());
    peer.Write(Hello(7, 2, Lane::kDecode));
    peer.Write(bytes);
    EXPECT_EQ(peer.WaitForEnd().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  RawPeer garbler(b->server().address());
  garbler.Write(std::string("\xFF\xFF\xFF garbage"));
  EXPECT_EQ(garbler.WaitForEnd().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  RawPeer hasty(b->server().address());
  hasty.Write(ToBytes(bad));
  EXPECT_EQ(hasty.WaitForEnd().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  RawPeer nameless(b->server().address());
  nameless.Write(CloseOf(1));  // which is right, but for a hello before it
  EXPECT_EQ(nameless.WaitForEnd().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  a->transport().Send({2, Lane::kControl, Close{{1, 2}}});
  ASSERT_TRUE(at_b_.WaitForMessages(2));
  EXPECT_EQ(at_b_.got().size(), 2u);
  EXPECT_TRUE(at_a_.gone().empty());
}

TEST_F(HostilePeer, WhoDoesNotSayHelloIsNotKept) {
  GrpcNode b({.self = TestIdentity(2),
              .listen = rig_.NewAddress(),
              .tls = {},
              .receiver = &at_b_,
              .detection = {.hello = std::chrono::milliseconds(50)}});
  RawPeer polite(b.server().address());
  polite.Write(Hello(7, 2, Lane::kDecode));
  RawPeer silent(b.server().address());
  EXPECT_EQ(silent.WaitForEnd().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  v1::Frame close;
  close.mutable_close()->mutable_sequence()->set_gateway(7);
  polite.Write(ToBytes(close));
  EXPECT_TRUE(at_b_.WaitForMessages(1));
}

TEST_F(HostilePeer, TheNewestStreamOfALaneTakesTheOldOnesPlace) {
  const auto b = Start(TestIdentity(2), &at_b_);
  RawPeer older(b->server().address());
  older.Write(Hello(7, 2, Lane::kDecode));
  ASSERT_TRUE(older.WaitForAnswer());
  RawPeer newer(b->server().address());
  newer.Write(Hello(7, 2, Lane::kDecode));
  EXPECT_EQ(older.WaitForEnd().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(at_b_.gone().empty()) << "the peer is still there";
  v1::Frame close;
  Encode(Close{{1, 1}}, {}, &close);
  newer.Write(ToBytes(close));
  ASSERT_TRUE(at_b_.WaitForMessages(1));
  b->grpc_transport().Shutdown();
  EXPECT_EQ(newer.WaitForEnd().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(HostilePeer, AnOlderProtocolThanThePredecessorsIsRefused) {
  const auto b = Start(TestIdentity(2), &at_b_);
  v1::Frame hello;
  MakeHello(TestIdentity(7), kSecret, 2, Lane::kControl, &hello);
  hello.mutable_hello()->set_protocol_version(0);
  RawPeer peer(b->server().address());
  peer.Write(ToBytes(hello));
  const grpc::Status status = peer.WaitForEnd();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("protocol"));
}

// The incarnation is all that a stranger may have learnt.
TEST_F(HostilePeer, AStrangerNeitherEndsNorTakesTheStreamsOfAnother) {
  const auto a = Start(TestIdentity(1), &at_a_), b = Start(TestIdentity(2), &at_b_);
  a->transport().Connect(b->replica());
  ASSERT_TRUE(at_a_.WaitForReached(2));
  for (const Lane lane : kAllLanes) ExpectDenied(*b, Hello(1, 2, lane));
  for (const Lane lane : kAllLanes) a->transport().Send({2, lane, Close{{1, 1}}});
  ASSERT_TRUE(at_b_.WaitForMessages(3));
  for (const Lane lane : kAllLanes) b->transport().Send({1, lane, Close{{1, 2}}});
  ASSERT_TRUE(at_a_.WaitForMessages(3));
  EXPECT_TRUE(at_a_.gone().empty());
  EXPECT_TRUE(at_b_.gone().empty());
}

TEST_F(HostilePeer, WhoWasHereIsKnownAgainAfterAllItsStreamsAreGone) {
  const auto b = Start(TestIdentity(2), &at_b_);
  {
    RawPeer peer(b->server().address());
    peer.Write(Hello(7, 2, Lane::kControl));
    ASSERT_TRUE(peer.WaitForAnswer());
  }
  ASSERT_TRUE(at_b_.WaitForGone(7, absl::StatusCode::kUnavailable));
  ExpectDenied(*b, Hello(7, 2, Lane::kControl, kOtherSecret));
  RawPeer back(b->server().address());
  back.Write(Hello(7, 2, Lane::kControl));
  EXPECT_TRUE(back.WaitForAnswer());
}

TEST_F(HostilePeer, ARoleIsNotChangedAndSomeCallNobody) {
  const auto b = Start(TestIdentity(2), &at_b_);
  RawPeer shard(b->server().address());
  shard.Write(Hello(7, 2, Lane::kControl));
  ASSERT_TRUE(shard.WaitForAnswer());
  LinkIdentity other = TestIdentity(7);
  other.role = Role::kGateway;
  ExpectDenied(*b, Hello(other, 2, Lane::kDecode));
  for (const Role role : {Role::kHead, Role::kTokenizer}) {
    other = TestIdentity(8);
    other.role = role;
    ExpectDenied(*b, Hello(other, 2, Lane::kControl));
  }
}

TEST_F(HostilePeer, NobodyIsTheProcessThatItCalls) {
  const auto b = Start(TestIdentity(2), &at_b_);
  ExpectDenied(*b, Hello(2, 2, Lane::kControl));
}

// Links go down the chain: what comes from the next stage comes on the link that was made to it.
TEST_F(HostilePeer, WhoIsCalledFromHereDoesNotCall) {
  RecordingReceiver at_c;
  const auto b = Start(TestIdentity(2), &at_b_), c = Start(TestIdentity(3), &at_c);
  RawPeer early(b->server().address());
  early.Write(Hello(3, 2, Lane::kControl));
  ASSERT_TRUE(early.WaitForAnswer());
  b->transport().Connect(c->replica());
  EXPECT_EQ(early.WaitForEnd().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  ASSERT_TRUE(at_b_.WaitForReached(3));
  ExpectDenied(*b, Hello(3, 2, Lane::kControl));
  b->transport().Send({3, Lane::kControl, Close{{1, 1}}});
  ASSERT_TRUE(at_c.WaitForMessages(1));
  EXPECT_TRUE(at_b_.gone().empty());
}

TEST_F(HostilePeer, StreamsThatSayNothingMakeWayForTheNext) {
  GrpcNode b({.self = TestIdentity(2),
              .listen = rig_.NewAddress(),
              .tls = {},
              .receiver = &at_b_,
              .detection = {.hello = std::chrono::minutes(10)},
              .max_strangers = 2});
  RawPeer polite(b.server().address());
  polite.Write(Hello(7, 2, Lane::kControl));
  ASSERT_TRUE(polite.WaitForAnswer());
  std::vector<std::unique_ptr<RawPeer>> silent;
  for (int i = 0; i < 3; ++i) {
    silent.push_back(std::make_unique<RawPeer>(b.server().address()));
  }
  int refused = 0;
  // Connections may come in another order than they were begun.
  for (auto it = silent.begin(); refused == 0; ++it) {
    if (it == silent.end()) it = silent.begin();
    if (!(*it)->HasEnded()) continue;
    EXPECT_EQ((*it)->WaitForEnd().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    ++refused;
  }
  RawPeer another(b.server().address());
  another.Write(Hello(8, 2, Lane::kControl));
  EXPECT_TRUE(another.WaitForAnswer());
  polite.Write(CloseOf(1));
  EXPECT_TRUE(at_b_.WaitForMessages(1));
}

TEST_F(HostilePeer, WhoHasGoneMakesPlaceForAnotherOnceItsLeaseIsOver) {
  GrpcNode b({.self = TestIdentity(2),
              .listen = rig_.NewAddress(),
              .tls = {},
              .receiver = &at_b_,
              .detection = {.lease = std::chrono::milliseconds(0)},
              .max_known_callers = 1});
  {
    RawPeer one(b.server().address());
    one.Write(Hello(7, 2, Lane::kControl));
    ASSERT_TRUE(one.WaitForAnswer());
    EXPECT_EQ(EndOf(b, Hello(8, 2, Lane::kControl)).error_code(),
              grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  ASSERT_TRUE(at_b_.WaitForGone(7, absl::StatusCode::kUnavailable));
  RawPeer another(b.server().address());
  another.Write(Hello(8, 2, Lane::kControl));
  EXPECT_TRUE(another.WaitForAnswer());
}

TEST_F(HostilePeer, AFirstFrameThatIsLongIsNoHello) {
  const auto b = Start(TestIdentity(2), &at_b_);
  LinkIdentity self = TestIdentity(7);
  self.fingerprint = std::string(limits::kMaxHandshakeBytes, 'x');
  EXPECT_EQ(EndOf(*b, Hello(self, 2, Lane::kControl)).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(HostilePeer, AHelloWithoutAProofIsNone) {
  const auto b = Start(TestIdentity(2), &at_b_);
  v1::Frame hello;
  MakeHello(TestIdentity(7), kSecret, 2, Lane::kControl, &hello);
  for (const std::string& proof : {std::string(), std::string(15, 'x'), std::string(17, 'x')}) {
    hello.mutable_hello()->set_proof(proof);
    EXPECT_EQ(EndOf(*b, ToBytes(hello)).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

// A member that has stolen another's secret has not got its key.
TEST_F(HostilePeer, AnotherMembersCertificateDoesNotDo) {
  if (!HaveOpenssl()) GTEST_SKIP() << "the openssl command is absent";
  ASSERT_TRUE(MakeAuthority(rig_.dir, "ca"));
  for (const char* name : {"b", "gateway", "renewed", "other"}) {
    const bool is_other = std::string_view(name) == "other";
    ASSERT_TRUE(MakeCertificate(rig_.dir, "ca", name,
                                is_other ? "DNS:other.cluster" : "DNS:gateway.cluster"));
  }
  rig_.tls = TlsFilesOf(rig_.dir, "ca", "b");
  const auto b = Start(TestIdentity(2), &at_b_);
  RawPeer peer(b->server().address(), TlsFilesOf(rig_.dir, "ca", "gateway"));
  peer.Write(Hello(7, 2, Lane::kControl));
  ASSERT_TRUE(peer.WaitForAnswer());
  EXPECT_EQ(EndOf(*b, Hello(7, 2, Lane::kDecode), TlsFilesOf(rig_.dir, "ca", "other")).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  RawPeer same(b->server().address(), TlsFilesOf(rig_.dir, "ca", "renewed"));
  same.Write(Hello(7, 2, Lane::kDecode));
  EXPECT_TRUE(same.WaitForAnswer());
}

}  // namespace
}  // namespace catena
