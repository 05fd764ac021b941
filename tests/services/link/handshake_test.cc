// What a hello and a welcome must say, and that a proof is of one caller for one answerer.
#include "services/link/handshake.h"

#include <gtest/gtest.h>

#include "runtime/chain/limits.h"

namespace catena {
namespace {

constexpr LinkSecret kSecret{1, 2, 3}, kOtherSecret{1, 2, 4};
constexpr Incarnation kAnswerer = 2, kOther = kAnswerer + (Incarnation{1} << 56);

LinkIdentity Identity(Incarnation incarnation) {
  return {incarnation, Role::kShard, "model", "numerics", {DType::kBF16, 8}};
}

v1::Frame HelloTo(Incarnation answerer, const LinkSecret& secret = kSecret) {
  v1::Frame frame;
  MakeHello(Identity(1), secret, answerer, Lane::kDecode, &frame);
  return frame;
}

absl::Status Checked(const v1::Frame& frame) {
  return CheckHello(Identity(kAnswerer), frame).status();
}

TEST(ProofTest, IsOfOneCallerForOneAnswerer) {
  const std::string proof = ProofFor(kSecret, kAnswerer);
  EXPECT_EQ(proof, ProofFor(kSecret, kAnswerer));
  for (const Incarnation other : {kAnswerer + 1, kAnswerer + 256, kOther}) {
    EXPECT_NE(proof, ProofFor(kSecret, other)) << "the answerer could pass for the caller there";
  }
  for (size_t i = 0; i < kSecret.size(); ++i) {
    LinkSecret guess = kSecret;
    guess[i] ^= 1;
    EXPECT_NE(proof, ProofFor(guess, kAnswerer)) << "byte " << i << " need not be known";
  }
  EXPECT_NE(NewLinkSecret(), NewLinkSecret());
}

TEST(HelloTest, HasTheProofForWhomItIsFor) {
  for (const Incarnation answerer : {kAnswerer, kOther}) {
    EXPECT_EQ(HelloTo(answerer).hello().proof(), ProofFor(kSecret, answerer));
    EXPECT_EQ(HelloTo(answerer, kOtherSecret).hello().proof(), ProofFor(kOtherSecret, answerer));
  }
}

TEST(HelloTest, SaysWhoCallsOnWhichLane) {
  const auto caller = CheckHello(Identity(kAnswerer), HelloTo(kAnswerer));
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->incarnation, 1u);
  EXPECT_EQ(caller->role, Role::kShard);
  EXPECT_EQ(caller->lane, Lane::kDecode);
  EXPECT_EQ(caller->proof, ProofFor(kSecret, kAnswerer));
}

TEST(HelloTest, WithoutIncarnationLaneOrProofIsNone) {
  EXPECT_TRUE(absl::IsInvalidArgument(Checked(v1::Frame())));
  v1::Frame frame = HelloTo(kAnswerer);
  frame.mutable_hello()->set_incarnation(0);
  EXPECT_TRUE(absl::IsInvalidArgument(Checked(frame)));
  for (const int lane : {-1, 0, 4}) {
    frame = HelloTo(kAnswerer);
    frame.mutable_hello()->set_lane(static_cast<v1::Lane>(lane));
    EXPECT_TRUE(absl::IsInvalidArgument(Checked(frame))) << lane;
  }
  frame = HelloTo(kAnswerer);
  frame.mutable_hello()->mutable_proof()->pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(Checked(frame)));
}

TEST(HelloTest, ForAnotherIsRefused) {
  EXPECT_TRUE(absl::IsFailedPrecondition(Checked(HelloTo(kOther))));
}

TEST(HelloTest, OfWhoCallsNobodyIsRefused) {
  v1::Frame frame = HelloTo(kAnswerer);
  frame.mutable_hello()->set_incarnation(kAnswerer);
  EXPECT_TRUE(absl::IsPermissionDenied(Checked(frame))) << "it is the answerer";
  for (const v1::Role role : {v1::ROLE_UNSPECIFIED, v1::ROLE_TOKENIZER, v1::ROLE_HEAD}) {
    frame = HelloTo(kAnswerer);
    frame.mutable_hello()->set_role(role);
    EXPECT_TRUE(absl::IsPermissionDenied(Checked(frame))) << role;
  }
}

TEST(WelcomeTest, MustBeOfWhoWasCalledAndOfAVersionThatIsSpoken) {
  constexpr uint32_t kNewest = limits::kProtocolVersion;
  v1::Frame frame;
  MakeWelcome(Identity(kAnswerer), kNewest, &frame);
  EXPECT_TRUE(CheckWelcome(Identity(1), kAnswerer, frame).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckWelcome(Identity(1), kOther, frame)));
  for (const uint32_t version : {0u, kNewest + 1}) {
    frame.mutable_welcome()->set_protocol_version(version);
    EXPECT_TRUE(absl::IsFailedPrecondition(CheckWelcome(Identity(1), kAnswerer, frame)));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(CheckWelcome(Identity(1), kAnswerer, v1::Frame())));
}

}  // namespace
}  // namespace catena
