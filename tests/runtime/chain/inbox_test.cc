#include "runtime/chain/inbox.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using Result = Inbox::Result;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kRowBytes = 2;
constexpr SequenceKey kKey{1, 2};
constexpr Life kLife{3, 4};

// An inbox and a sender whose id at a position is 100 + position, and whose row is two letters.
class InboxTest : public ::testing::Test {
 protected:
  static std::string Row(int64_t position, char letter = 'a') {
    return {letter, static_cast<char>('A' + position)};
  }
  // Positions [position, end), with rows from `first_row` on, which begin with `letter`.
  Result Take(int64_t position, int64_t end, int64_t first_row, char letter = 'a',
              size_t before = 0) {
    Step step{.sequence = kKey, .life = kLife, .position = position, .ids = {}, .row_hashes = {}};
    std::string rows(before, '-');
    for (int64_t p = position; p < end; ++p) {
      step.ids.push_back(static_cast<int32_t>(100 + p));
      if (p < first_row) continue;
      const std::string row = Row(p, letter);
      step.row_hashes.push_back(HashRow(row.data(), kRowBytes));
      rows += row;
    }
    return inbox_->Take(step, std::make_shared<std::string>(rows), before, batch_, lane_, now_);
  }
  Result TakeRows(int64_t position, int64_t end) { return Take(position, end, position); }
  Result TakeIds(int64_t position, int64_t end) { return Take(position, end, end); }

  struct Taken {
    std::vector<int32_t> ids;
    std::string rows;
  };
  Taken Pop(int64_t n) {
    Taken taken;
    std::vector<RowRun> runs;
    inbox_->Consume(n, &taken.ids, &runs);
    for (const RowRun& run : runs) {
      taken.rows.append(*run.payload, run.offset, static_cast<size_t>(run.rows * kRowBytes));
    }
    return taken;
  }
  std::optional<NeedFrom> Ask() { return inbox_->Ask(kKey, kLife, now_, milliseconds(1000)); }

  void Make(const Inbox::Options& options) { inbox_.emplace(options); }
  void SetUp() override {
    Make({.rows_from = 0, .row_bytes = kRowBytes, .max_length = 20, .window = 10});
  }

  std::optional<Inbox> inbox_;
  uint64_t batch_ = 1;
  Lane lane_ = Lane::kDecode;
  Instant now_{std::chrono::hours(1)};
};

TEST_F(InboxTest, QueuesWhatFollowsAndGivesItInOrder) {
  EXPECT_TRUE(inbox_->empty());
  EXPECT_EQ(TakeRows(0, 3), Result::kQueued);
  EXPECT_EQ(TakeRows(3, 4), Result::kQueued);
  EXPECT_EQ(inbox_->begin(), 0);
  EXPECT_EQ(inbox_->end(), 4);
  EXPECT_EQ(inbox_->queued(), 4);
  const Taken taken = Pop(4);
  EXPECT_THAT(taken.ids, ElementsAre(100, 101, 102, 103));
  EXPECT_EQ(taken.rows, Row(0) + Row(1) + Row(2) + Row(3));
  EXPECT_EQ(inbox_->begin(), 4);
  EXPECT_TRUE(inbox_->empty());
}

TEST_F(InboxTest, GivesAPartOfAPieceAndThenTheRest) {
  TakeRows(0, 3);
  TakeRows(3, 5);
  EXPECT_EQ(Pop(1).rows, Row(0));
  const Taken taken = Pop(3);  // the rest of one piece, and a part of the next
  EXPECT_THAT(taken.ids, ElementsAre(101, 102, 103));
  EXPECT_EQ(taken.rows, Row(1) + Row(2) + Row(3));
  EXPECT_EQ(Pop(1).rows, Row(4));
}

TEST_F(InboxTest, FindsItsRowsWithinAMessageOfMany) {
  EXPECT_EQ(Take(0, 2, 0, 'a', 6), Result::kQueued);
  EXPECT_EQ(Pop(2).rows, Row(0) + Row(1));
}

TEST_F(InboxTest, GivingMoreThanItHasIsABug) {
  TakeRows(0, 1);
  EXPECT_DEATH(Pop(2), "check failed");
}

TEST_F(InboxTest, TellsWhereAndWhenTheOldestPieceCame) {
  batch_ = 7;
  lane_ = Lane::kBulk;
  TakeRows(0, 1);
  const Instant first = now_;
  now_ += milliseconds(5);
  batch_ = 8;
  lane_ = Lane::kDecode;
  TakeRows(1, 2);
  EXPECT_EQ(inbox_->batch(), 7u);
  EXPECT_EQ(inbox_->lane(), Lane::kBulk);
  EXPECT_EQ(inbox_->since(), first);
  Pop(1);
  EXPECT_EQ(inbox_->batch(), 8u);
  EXPECT_EQ(inbox_->lane(), Lane::kDecode);
  EXPECT_EQ(inbox_->since(), now_);
}

TEST_F(InboxTest, DropsWhatCameAlreadyQueuedOrConsumed) {
  TakeRows(0, 4);
  Pop(2);
  EXPECT_EQ(TakeRows(0, 4), Result::kDuplicate);
  EXPECT_EQ(TakeRows(1, 3), Result::kDuplicate);
  EXPECT_EQ(inbox_->queued(), 2);
}

TEST_F(InboxTest, TakesWhatIsNewOfAStepThatOverlaps) {
  TakeRows(0, 2);
  EXPECT_EQ(TakeRows(1, 4), Result::kQueued);
  const Taken taken = Pop(4);
  EXPECT_THAT(taken.ids, ElementsAre(100, 101, 102, 103));
  EXPECT_EQ(taken.rows, Row(0) + Row(1) + Row(2) + Row(3));
}

TEST_F(InboxTest, LeavesNoHole) {
  EXPECT_EQ(TakeRows(1, 2), Result::kGap);
  TakeRows(0, 2);
  EXPECT_EQ(TakeRows(3, 4), Result::kGap);
  EXPECT_EQ(inbox_->end(), 2);
}

TEST_F(InboxTest, SeesThatADuplicateHasOtherBits) {
  TakeRows(0, 3);
  EXPECT_EQ(Take(0, 3, 0, 'b'), Result::kDiverged);
  EXPECT_EQ(Take(2, 5, 2, 'b'), Result::kDiverged);  // its new part is not taken either
  EXPECT_EQ(inbox_->end(), 3);
  Pop(3);
  EXPECT_EQ(Take(0, 1, 0, 'b'), Result::kDiverged);  // also once it is consumed
}

TEST_F(InboxTest, WantsRowsFromWhereItWasTold) {
  Make({.rows_from = 3, .row_bytes = kRowBytes, .max_length = 20, .window = 10});
  EXPECT_EQ(Take(0, 5, 0), Result::kMalformed);  // rows that nobody wants
  EXPECT_EQ(Take(0, 5, 5), Result::kMalformed);  // those wanted are missing
  EXPECT_EQ(Take(0, 5, 4), Result::kMalformed);
  EXPECT_EQ(TakeIds(0, 2), Result::kQueued);
  EXPECT_EQ(Take(2, 5, 3), Result::kQueued);
  EXPECT_EQ(Take(4, 6, 4), Result::kQueued);
  const Taken first = Pop(3);
  EXPECT_THAT(first.ids, ElementsAre(100, 101, 102));
  EXPECT_EQ(first.rows, "");
  EXPECT_EQ(Pop(3).rows, Row(3) + Row(4) + Row(5));
  EXPECT_EQ(Take(2, 5, 3, 'b'), Result::kDiverged);
}

TEST_F(InboxTest, RefusesStepsOfNoShape) {
  EXPECT_EQ(TakeRows(0, 0), Result::kMalformed);    // empty
  EXPECT_EQ(TakeRows(-1, 2), Result::kMalformed);   // before the beginning
  EXPECT_EQ(TakeRows(15, 21), Result::kMalformed);  // past what the sequence may have
  EXPECT_TRUE(inbox_->empty());
}

TEST_F(InboxTest, QueuesNoMoreThanItsWindow) {
  EXPECT_EQ(TakeRows(0, 11), Result::kMalformed);
  EXPECT_EQ(TakeRows(0, 10), Result::kQueued);
  EXPECT_EQ(TakeRows(10, 11), Result::kMalformed);
  Pop(1);
  EXPECT_EQ(TakeRows(10, 11), Result::kQueued);
}

TEST_F(InboxTest, BeginsWhereItIsTold) {
  Make({.rows_from = 0, .row_bytes = kRowBytes, .max_length = 20, .window = 10, .begin = 6});
  EXPECT_EQ(inbox_->begin(), 6);
  EXPECT_EQ(TakeRows(7, 8), Result::kGap);
  EXPECT_EQ(TakeRows(4, 6), Result::kDuplicate);  // what it never saw cannot disagree
  EXPECT_EQ(TakeRows(4, 8), Result::kQueued);
  EXPECT_EQ(Pop(2).rows, Row(6) + Row(7));
}

TEST_F(InboxTest, RewindForgetsWhatIsQueuedAndWhatWasConsumedFromThereOn) {
  TakeRows(0, 4);
  Pop(4);
  TakeRows(4, 6);
  inbox_->Rewind(2);
  EXPECT_EQ(inbox_->begin(), 2);
  EXPECT_EQ(inbox_->end(), 2);
  // Other bits from there on are no divergence; those before it still are.
  EXPECT_EQ(Take(1, 3, 1, 'b'), Result::kDiverged);
  EXPECT_EQ(Take(2, 4, 2, 'b'), Result::kQueued);
  EXPECT_EQ(Pop(2).rows, Row(2, 'b') + Row(3, 'b'));
  EXPECT_EQ(Take(0, 4, 0, 'b'), Result::kDiverged);
  EXPECT_EQ(Take(2, 4, 2, 'b'), Result::kDuplicate);
}

TEST_F(InboxTest, RewindToBeforeItsBeginningComparesFromThereOn) {
  Make({.rows_from = 3, .row_bytes = kRowBytes, .max_length = 20, .window = 10, .begin = 6});
  TakeRows(6, 8);
  Pop(2);
  inbox_->Rewind(1);
  EXPECT_EQ(Take(1, 5, 3), Result::kQueued);
  EXPECT_EQ(Pop(4).rows, Row(3) + Row(4));
  EXPECT_EQ(Take(1, 5, 3, 'b'), Result::kDiverged);
}

TEST_F(InboxTest, RewindPastWhatWasConsumedIsABug) {
  TakeRows(0, 4);
  EXPECT_DEATH(inbox_->Rewind(1), "check failed");
}

TEST_F(InboxTest, AsksForTheFirstPositionThatIsMissingAndCounts) {
  TakeRows(0, 2);
  EXPECT_FALSE(inbox_->asking());
  const std::optional<NeedFrom> need = Ask();
  ASSERT_TRUE(need.has_value());
  EXPECT_EQ(need->sequence, kKey);
  EXPECT_EQ(need->life, kLife);
  EXPECT_EQ(need->position, 2);
  EXPECT_EQ(need->number, 1u);
  EXPECT_TRUE(inbox_->asking());
}

TEST_F(InboxTest, AsksTheSameAgainOnlyAfterAWhile) {
  Ask();
  now_ += milliseconds(999);
  EXPECT_EQ(Ask(), std::nullopt);
  now_ += milliseconds(1);
  const std::optional<NeedFrom> need = Ask();
  ASSERT_TRUE(need.has_value());
  EXPECT_EQ(need->number, 2u);
}

TEST_F(InboxTest, AnAnswerEndsTheQuestionAndTheNextIsAskedAtOnce) {
  Ask();
  TakeRows(0, 2);
  EXPECT_FALSE(inbox_->asking());
  const std::optional<NeedFrom> need = Ask();
  ASSERT_TRUE(need.has_value());
  EXPECT_EQ(need->number, 2u);
  EXPECT_EQ(need->position, 2);
  Pop(2);
  inbox_->Rewind(1);
  EXPECT_FALSE(inbox_->asking());
  EXPECT_EQ(Ask()->position, 1);
}

TEST_F(InboxTest, WhatIsNoAnswerLeavesTheQuestionOpen) {
  TakeRows(0, 1);
  Ask();
  TakeRows(0, 1);      // a duplicate
  TakeRows(5, 6);      // a gap
  Take(0, 2, 0, 'b');  // other bits
  TakeRows(1, 20);     // past the window
  EXPECT_TRUE(inbox_->asking());
  EXPECT_EQ(Ask(), std::nullopt);
}

TEST(HashRow, DiffersByABit) {
  EXPECT_EQ(HashRow("row!", 4), HashRow("row!", 4));
  EXPECT_NE(HashRow("row!", 4), HashRow("row ", 4));
  EXPECT_EQ(HashRow("row!", 3), HashRow("row ", 3));  // of the row alone
}

}  // namespace
}  // namespace catena
