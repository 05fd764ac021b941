// What is particular to links over gRPC: what does not fit, restarts, bounds, the end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
              .detection = {.give_up = std::chrono::milliseconds(50)}});
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

TEST_F(Links, WhatWasSentBeforeTheEndArrives) {
  constexpr uint64_t kCount = 2000;
  const auto a = Start(TestIdentity(1), &at_a_), b = Start(TestIdentity(2), &at_b_);
  a->transport().Connect(b->replica());
  a->transport().Send({2, Lane::kControl, Close{{1, 1}}});
  ASSERT_TRUE(at_b_.WaitForMessages(1));
  for (uint64_t i = 0; i < kCount; ++i) b->transport().Send({1, Lane::kControl, Close{{1, i}}});
  b->grpc_transport().Shutdown();
  EXPECT_TRUE(at_a_.WaitForMessages(kCount));
  EXPECT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kUnavailable));
}

TEST_F(Links, ThereAreOnlySoManyAndTheNextOneIsRefused) {
  GrpcNode a({.self = TestIdentity(1),
              .listen = rig_.NewAddress(),
              .tls = {},
              .receiver = &at_a_,
              .max_links = 2});
  const auto b = Start(TestIdentity(2), &at_b_);
  EXPECT_TRUE(a.transport().MayConnect(b->replica()).ok());
  a.transport().Connect(b->replica());
  a.transport().Connect({rig_.NewAddress(), 3});
  const Replica one_more{rig_.NewAddress(), 4};
  EXPECT_TRUE(absl::IsResourceExhausted(a.transport().MayConnect(one_more)));
  EXPECT_TRUE(a.transport().MayConnect(b->replica()).ok()) << "it is there";
  a.transport().Connect(one_more);
  EXPECT_TRUE(at_a_.WaitForGone(4, absl::StatusCode::kResourceExhausted));
  a.transport().Disconnect(3);
  EXPECT_TRUE(a.transport().MayConnect(one_more).ok());
}

TEST_F(Links, AnAddressThatMayNotBeCalledIsNotCalled) {
  const auto b = Start(TestIdentity(2), &at_b_);
  GrpcNode a({.self = TestIdentity(1),
              .listen = rig_.NewAddress(),
              .tls = {},
              .receiver = &at_a_,
              .may_call = [&](const std::string& address) {
                return address == b->server().address() ? absl::FailedPreconditionError("elsewhere")
                                                        : absl::OkStatus();
              }});
  EXPECT_TRUE(absl::IsFailedPrecondition(a.transport().MayConnect(b->replica())));
  a.transport().Connect(b->replica());
  ASSERT_TRUE(at_a_.WaitForGone(2, absl::StatusCode::kFailedPrecondition));
  EXPECT_TRUE(at_a_.reached().empty());
}

TEST(FrameBytes, LargeRowsAreSharedAndReadBackEqual) {
  const RowFormat format{DType::kF32, 1 << 20};
  const auto rows = std::make_shared<const std::string>(1 << 20, 'r');
  const Steps steps{3, {Step{{1, 2}, {}, 0, 0, 5, {6}, {7}}}, rows};
  v1::Frame frame, back;
  EncodeWithoutRows(steps, format, &frame);
  grpc::ByteBuffer bytes = ToBytes(frame, rows);
  EXPECT_EQ(rows.use_count(), 3) << "copied";
  ASSERT_TRUE(FromBytes(&bytes, true, &back).ok());
  const auto decoded = Decode(format, &back);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(TextOf(*decoded), TextOf(steps));
  EXPECT_EQ(rows.use_count(), 2) << "kept after it was read";
}

// The bytes of a frame, with the bit flipped where one is named.
grpc::ByteBuffer Flipped(const grpc::ByteBuffer& bytes, std::optional<size_t> bit = {}) {
  std::vector<grpc::Slice> slices;
  std::string flat;
  bytes.Dump(&slices);
  for (const grpc::Slice& s : slices) flat.append(s.begin(), s.end());
  if (bit) flat[*bit / 8] = static_cast<char>(flat[*bit / 8] ^ 1 << *bit % 8);
  const grpc::Slice slice(flat);
  return grpc::ByteBuffer(&slice, 1);
}

TEST(FrameBytes, ABitThatFlipsAnywhereButInRowsIsNoticed) {
  const RowFormat format{DType::kF32, 8};
  const auto rows = std::make_shared<const std::string>("eight by");
  const Steps steps{3, {Step{{1, 2}, {}, 0, 0, 5, {6}, {7}}}, rows};
  v1::Frame frame;
  EncodeWithoutRows(steps, format, &frame);
  const grpc::ByteBuffer bytes = ToBytes(frame, rows);
  const size_t end = bytes.Length() - 9;  // of the rows; then the checksum
  for (size_t bit = 0; bit < bytes.Length() * 8; ++bit) {
    grpc::ByteBuffer altered = Flipped(bytes, bit);
    v1::Frame back;
    const bool in_rows = end - rows->size() <= bit / 8 && bit / 8 < end;
    EXPECT_EQ(FromBytes(&altered, true, &back).ok(), in_rows) << bit;
  }
}

TEST(FrameBytes, WhoIsOlderMayGoWithoutAChecksum) {
  v1::ChainServiceLinkRequest old;
  old.mutable_frame()->mutable_close()->mutable_sequence()->set_number(7);
  // What stands where a checksum would begin is no sign of one.
  v1::ChainServiceLinkRequest hello;
  hello.mutable_frame()->mutable_hello()->set_proof(std::string(7, 'p') + '\x11' +
                                                    std::string(8, 'p'));
  const grpc::Slice hello_slice(hello.SerializeAsString());
  grpc::ByteBuffer hello_bytes(&hello_slice, 1);
  v1::Frame hello_frame;
  EXPECT_TRUE(FromBytes(&hello_bytes, false, &hello_frame).ok());
  const grpc::Slice slice(old.SerializeAsString());
  grpc::ByteBuffer bytes(&slice, 1);
  v1::Frame frame;
  ASSERT_TRUE(FromBytes(&bytes, false, &frame).ok());
  EXPECT_EQ(frame.close().sequence().number(), 7u);
  bytes = grpc::ByteBuffer(&slice, 1);
  EXPECT_TRUE(absl::IsDataLoss(FromBytes(&bytes, true, &frame)));
}

}  // namespace
}  // namespace catena
