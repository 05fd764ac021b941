// What is particular to links over gRPC: who is let in, and what a peer's nonsense does.
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/common/channel.h"
#include "services/link/frame_bytes.h"
#include "tests/services/link/grpc_rig.h"
#include "tests/services/log_lines.h"

namespace catena {
namespace {

using ::testing::HasSubstr;

class Links : public ::testing::Test {
 protected:
  std::unique_ptr<GrpcNode> Start(const LinkIdentity& self, Receiver* receiver) {
    return std::make_unique<GrpcNode>(
        GrpcNode::Options{self, rig_.NewAddress(), {}, limits::kMaxQueuedBytes, receiver});
  }

  // Connects `self` to a plain node; the message of the refusal.
  std::string Refusal(const LinkIdentity& self) {
    RecordingReceiver at_a, at_b;
    const auto a = Start(self, &at_a), b = Start(TestIdentity(2), &at_b);
    a->transport().Connect(b->replica());
    EXPECT_TRUE(at_a.WaitForGone(2, absl::StatusCode::kFailedPrecondition));
    EXPECT_TRUE(at_b.got().empty());
    return at_a.gone().empty() ? "" : std::string(at_a.gone()[0].why.message());
  }

  GrpcRig rig_{true};
  RecordingReceiver at_a_, at_b_;
};

TEST_F(Links, OtherModelsNumericsAndRowSizesAreRefusedByName) {
  LinkIdentity self = TestIdentity(1);
  self.fingerprint = "other model";
  EXPECT_THAT(Refusal(self), AllOf(HasSubstr("other model"), HasSubstr("\"model\"")));
  self = TestIdentity(1);
  self.numerics_id = "other numerics";
  EXPECT_THAT(Refusal(self), AllOf(HasSubstr("other numerics"), HasSubstr("\"numerics\"")));
  self = TestIdentity(1);
  self.rows.row_bytes = 4096;
  EXPECT_THAT(Refusal(self), AllOf(HasSubstr("4096"), HasSubstr("8 bytes")));
}

TEST_F(Links, AGatewayThatKnowsNoNumericsIsWelcome) {
  const auto a = Start({1, Role::kGateway, "", "", {}}, &at_a_);
  const auto b = Start(TestIdentity(2), &at_b_);
  a->transport().Connect(b->replica());
  a->transport().Send({2, Lane::kControl, Close{{1, 1}}});
  EXPECT_TRUE(at_b_.WaitForMessages(1));
}

TEST_F(Links, AServerWithoutLinksIsFinal) {
  const auto a = Start(TestIdentity(1), &at_a_);
  auto server = Server::Start({rig_.NewAddress(), grpc::InsecureServerCredentials(), {}});
  ASSERT_TRUE(server.ok()) << server.status();
  a->transport().Connect({(*server)->address(), 2});
  ASSERT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(at_a_.gone()[0].why.message()), HasSubstr("neither a shard nor a head"));
}

TEST_F(Links, ShutdownEndsStreamsThatAreOpenAndLetsNoneIn) {
  const auto a = Start(TestIdentity(1), &at_a_), b = Start(TestIdentity(2), &at_b_);
  a->transport().Connect(b->replica());
  a->transport().Send({2, Lane::kBulk, Close{{1, 1}}});
  ASSERT_TRUE(at_b_.WaitForMessages(1));
  b->grpc_transport().Shutdown();
  ASSERT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kUnavailable));
  EXPECT_TRUE(at_b_.gone().empty()) << "called after Shutdown";
  a->transport().Disconnect(2);
  a->transport().Connect(b->replica());
  ASSERT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kUnavailable, 1));
}

TEST_F(Links, APeerThatRestartsTakesOneLineOfTheLogAStateAndNotOneALane) {
  const LogLines log;
  const auto a = Start(TestIdentity(1), &at_a_);
  auto b = Start(TestIdentity(2), &at_b_);
  a->transport().Connect(b->replica());
  const auto use_all_lanes = [&](uint64_t n) {
    for (const Lane lane : {Lane::kControl, Lane::kDecode, Lane::kBulk}) {
      a->transport().Send({2, lane, Close{{1, n}}});
    }
  };
  use_all_lanes(1);
  ASSERT_TRUE(at_b_.WaitForMessages(3));
  const std::string address = b->server().address();
  b.reset();
  ASSERT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kUnavailable));
  RecordingReceiver at_c;
  const auto c = std::make_unique<GrpcNode>(
      GrpcNode::Options{TestIdentity(3), address, {}, limits::kMaxQueuedBytes, &at_c});
  ASSERT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kFailedPrecondition));
  a->grpc_transport().Shutdown();
  c->grpc_transport().Shutdown();
  const std::vector<std::string> lines = log.With("link");
  EXPECT_EQ(log.With("is down").size(), 2u) << ::testing::PrintToString(lines);  // and gone
  EXPECT_EQ(log.With("link refused").size(), 1u) << ::testing::PrintToString(lines);
  EXPECT_EQ(lines.size(), 3u) << ::testing::PrintToString(lines);
  for (const std::string& line : lines) EXPECT_LT(line.size(), 150 + address.size()) << line;
}

TEST_F(Links, ALinkThatStaysDownIsGivenUpAndMadeAnewWhenAskedFor) {
  const LogLines log;
  GrpcNode a({.self = TestIdentity(1),
              .listen = rig_.NewAddress(),
              .tls = {},
              .receiver = &at_a_,
              .give_up = std::chrono::milliseconds(50)});
  auto b = Start(TestIdentity(2), &at_b_);
  const Replica replica = b->replica();
  a.transport().Connect(replica);
  a.transport().Send({2, Lane::kControl, Close{{1, 1}}});
  ASSERT_TRUE(at_b_.WaitForMessages(1));
  b.reset();
  ASSERT_TRUE(log.WaitFor("is given up"));
  b = std::make_unique<GrpcNode>(
      GrpcNode::Options{TestIdentity(2), replica.address, {}, limits::kMaxQueuedBytes, &at_b_});
  a.transport().Connect(replica);
  a.transport().Send({2, Lane::kControl, Close{{1, 2}}});
  EXPECT_TRUE(at_b_.WaitForMessages(2));
}

// A peer that writes what it likes, on one lane.
class RawPeer : private grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit RawPeer(const std::string& address)
      : stub_(MakeChannel(address, grpc::InsecureChannelCredentials())) {
    stub_.PrepareBidiStreamingCall(&context_, "/catena.v1.ChainService/Link", {}, this);
    AddHold();
    StartRead(&in_);
    StartCall();
  }
  // A reactor has to outlive its stream.
  ~RawPeer() override {
    if (!end_.valid()) return;
    context_.TryCancel();
    RemoveHold();
    end_.wait();
  }
  void Write(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    Write(grpc::ByteBuffer(&slice, 1));
  }
  void Write(const grpc::ByteBuffer& bytes) {
    written_ = std::promise<void>();
    out_ = bytes;
    StartWrite(&out_);
    written_.get_future().wait();
  }
  // For the welcome: only then is it known that the hello has come.
  [[nodiscard]] bool WaitForAnswer() { return Came(answered_.get_future()); }
  // Of the stream, which the other side ends.
  grpc::Status WaitForEnd() {
    RemoveHold();
    if (!Came(end_)) context_.TryCancel();
    return end_.get();
  }

 private:
  template <typename Future>
  static bool Came(const Future& future) {
    return future.wait_for(kPatience) == std::future_status::ready;
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (!std::exchange(has_answer_, true)) answered_.set_value();
    StartRead(&in_);
  }
  void OnWriteDone(bool) override { written_.set_value(); }
  void OnDone(const grpc::Status& status) override { done_.set_value(status); }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer in_, out_;
  bool has_answer_ = false;
  std::promise<void> written_, answered_;
  std::promise<grpc::Status> done_;
  std::future<grpc::Status> end_ = done_.get_future();
};

grpc::ByteBuffer Hello(Incarnation self, Incarnation expected, Lane lane) {
  v1::Frame frame;
  MakeHello(TestIdentity(self), expected, lane, &frame);
  return ToBytes(frame);
}

TEST_F(Links, GarbageEndsOnlyItsOwnStream) {
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
  a->transport().Send({2, Lane::kControl, Close{{1, 2}}});
  ASSERT_TRUE(at_b_.WaitForMessages(2));
  EXPECT_TRUE(at_a_.gone().empty());
}

TEST_F(Links, WhoDoesNotSayHelloIsNotKept) {
  GrpcNode b({.self = TestIdentity(2),
              .listen = rig_.NewAddress(),
              .tls = {},
              .receiver = &at_b_,
              .hello = std::chrono::milliseconds(50)});
  RawPeer polite(b.server().address());
  polite.Write(Hello(7, 2, Lane::kDecode));
  RawPeer silent(b.server().address());
  EXPECT_EQ(silent.WaitForEnd().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  v1::Frame close;
  close.mutable_close()->mutable_sequence()->set_gateway(7);
  polite.Write(ToBytes(close));
  EXPECT_TRUE(at_b_.WaitForMessages(1));
}

TEST_F(Links, TheNewestStreamOfALaneTakesTheOldOnesPlace) {
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

TEST_F(Links, AnOlderProtocolThanThePredecessorsIsRefused) {
  const auto b = Start(TestIdentity(2), &at_b_);
  v1::Frame hello;
  MakeHello(TestIdentity(7), 2, Lane::kControl, &hello);
  hello.mutable_hello()->set_protocol_version(0);
  RawPeer peer(b->server().address());
  peer.Write(ToBytes(hello));
  const grpc::Status status = peer.WaitForEnd();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("protocol"));
}

TEST(FrameBytes, LargeRowsAreSharedAndReadBackEqual) {
  const RowFormat format{DType::kF32, 1 << 20};
  const auto rows = std::make_shared<const std::string>(1 << 20, 'r');
  const Steps steps{3, {Step{{1, 2}, {}, 0, 0, 5, {6}, {7}}}, rows};
  v1::Frame frame, back;
  EncodeWithoutRows(steps, format, &frame);
  grpc::ByteBuffer bytes = ToBytes(frame, rows);
  EXPECT_EQ(rows.use_count(), 3) << "copied";
  ASSERT_TRUE(FromBytes(&bytes, &back).ok());
  const auto decoded = Decode(format, &back);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(TextOf(*decoded), TextOf(steps));
  EXPECT_EQ(rows.use_count(), 2) << "kept after it was read";
}

}  // namespace
}  // namespace catena
