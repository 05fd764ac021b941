// Whoever has called once is known again, and nobody else is taken for it; the book has an end.
#include "services/link/caller_book.h"

#include <gtest/gtest.h>

#include "services/link/refusal_log.h"

namespace catena {
namespace {

constexpr std::chrono::seconds kRemember{20};

Caller CallerOf(Incarnation incarnation, const std::string& proof = "proof of 1",
                Role role = Role::kGateway) {
  return {.incarnation = incarnation, .role = role, .proof = proof, .lane = Lane::kControl};
}

class CallerBookTest : public ::testing::Test {
 protected:
  bool Enter(const Caller& caller, const std::string& certificate = "") {
    const absl::Status status = book_.Enter(caller, certificate, now_);
    EXPECT_TRUE(status.ok() || absl::IsPermissionDenied(status)) << status;
    return status.ok();
  }

  Instant now_{std::chrono::hours(1)};
  CallerBook book_{{.most = 2, .remember = kRemember}};
};

TEST_F(CallerBookTest, TheFirstStreamFixesProofRoleAndCertificate) {
  ASSERT_TRUE(Enter(CallerOf(1), "a.cluster"));
  EXPECT_TRUE(Enter(CallerOf(1), "a.cluster"));
  EXPECT_FALSE(Enter(CallerOf(1, "proof of 2"), "a.cluster"));
  EXPECT_FALSE(Enter(CallerOf(1, "proof"), "a.cluster"));
  EXPECT_FALSE(Enter(CallerOf(1, ""), "a.cluster"));
  EXPECT_FALSE(Enter(CallerOf(1, "proof of 1", Role::kShard), "a.cluster"));
  EXPECT_FALSE(Enter(CallerOf(1), "b.cluster"));
  EXPECT_FALSE(Enter(CallerOf(1), ""));
}

TEST_F(CallerBookTest, ARefusalNeitherNamesAProofNorCountsAsAStream) {
  ASSERT_TRUE(Enter(CallerOf(1, "the secret")));
  const absl::Status status = book_.Enter(CallerOf(1, "a guess"), "", now_);
  EXPECT_EQ(Message(status).find("secret"), std::string_view::npos) << status;
  EXPECT_EQ(Message(status).find("guess"), std::string_view::npos) << status;
  book_.Leave(1, now_);
  now_ += kRemember;
  EXPECT_TRUE(Enter(CallerOf(2)));
  EXPECT_TRUE(Enter(CallerOf(3))) << "1 has no streams";
}

TEST_F(CallerBookTest, WhoIsGoneIsKnownAgainForAsLongAsThereIsRoom) {
  ASSERT_TRUE(Enter(CallerOf(1)));
  book_.Leave(1, now_);
  now_ += std::chrono::hours(24);
  EXPECT_FALSE(Enter(CallerOf(1, "proof of 2")));
  EXPECT_TRUE(Enter(CallerOf(1)));
}

TEST_F(CallerBookTest, AFullBookForgetsWhoHasBeenGoneLongestAndLongEnough) {
  ASSERT_TRUE(Enter(CallerOf(1)));
  ASSERT_TRUE(Enter(CallerOf(2)));
  const Caller third = CallerOf(3);
  EXPECT_TRUE(absl::IsResourceExhausted(book_.Enter(third, "", now_))) << "both have streams";
  book_.Leave(2, now_);
  now_ += std::chrono::seconds(1);
  book_.Leave(1, now_);
  now_ += kRemember - std::chrono::milliseconds(1001);
  EXPECT_TRUE(absl::IsResourceExhausted(book_.Enter(third, "", now_))) << "its lease may run";
  now_ += std::chrono::milliseconds(1);
  EXPECT_TRUE(Enter(third));
  EXPECT_EQ(book_.size(), 2u);
  EXPECT_FALSE(Enter(CallerOf(1, "proof of 2"))) << "1 was forgotten instead of 2";
}

TEST_F(CallerBookTest, OneOfSeveralStreamsKeepsItKnown) {
  ASSERT_TRUE(Enter(CallerOf(1)));
  ASSERT_TRUE(Enter(CallerOf(1)));
  ASSERT_TRUE(Enter(CallerOf(2)));
  book_.Leave(1, now_);
  now_ += std::chrono::hours(24);
  EXPECT_TRUE(absl::IsResourceExhausted(book_.Enter(CallerOf(3), "", now_)));
}

TEST(RefusalLogTest, ACallerAndReasonTakeALineAndAFloodHasAnEnd) {
  RefusalLog log;
  Instant now{std::chrono::hours(1)};
  EXPECT_EQ(log.Refused(1, "no", now), "link refused: no");
  EXPECT_EQ(log.Refused(1, "no", now), std::nullopt);
  EXPECT_EQ(log.Refused(1, "another reason", now), "link refused: another reason");
  log.Accepted(1);
  EXPECT_EQ(log.Refused(1, "another reason", now), "link refused: another reason");
  int lines = 3;
  for (Incarnation caller = 2; caller < 10'000; ++caller) {
    lines += log.Refused(caller, "no", now).has_value();
  }
  EXPECT_EQ(lines, RefusalLog::kMaxLinesAMinute);
  now += std::chrono::minutes(1);
  EXPECT_EQ(log.Refused(10'000, "no", now),
            fmt::format("link refused: no ({} more were refused before)",
                        9'998 - (RefusalLog::kMaxLinesAMinute - 3)));
}

}  // namespace
}  // namespace catena
