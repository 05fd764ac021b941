#include "runtime/chain/prefill_budget.h"

#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kMax = 512, kFloor = 16;

// What it has settled on after many batches of the same kind.
void RunOften(PrefillBudget* budget, int64_t decodes, int64_t rows, Nanoseconds time) {
  for (int i = 0; i < 100; ++i) budget->Ran(decodes, rows, time);
}

TEST(PrefillBudget, IsAllThereIsWhileNobodyDecodes) {
  PrefillBudget budget(kMax);
  EXPECT_EQ(budget.Rows(0), kMax);
  budget.Ran(1, 0, milliseconds(1));
  EXPECT_EQ(budget.Rows(0), kMax);
}

TEST(PrefillBudget, IsTheFloorUntilItKnowsWhatBothTake) {
  PrefillBudget budget(kMax);
  EXPECT_EQ(budget.Rows(1), kFloor);
  budget.Ran(1, 0, milliseconds(100));
  EXPECT_EQ(budget.Rows(1), kFloor);

  PrefillBudget other(kMax);
  other.Ran(0, 100, milliseconds(100));
  EXPECT_EQ(other.Rows(1), kFloor);
}

TEST(PrefillBudget, IsSoManyRowsAsTakeTheTimeOfTheDecodes) {
  PrefillBudget budget(kMax);
  budget.Ran(4, 0, milliseconds(50));
  budget.Ran(0, 100, milliseconds(150));  // 1 ms a row, besides what any batch takes
  EXPECT_EQ(budget.Rows(4), 50);
}

TEST(PrefillBudget, IsNeverUnderTheFloorNorOverTheBatch) {
  PrefillBudget budget(kMax);
  budget.Ran(1, 0, milliseconds(2));
  budget.Ran(0, 100, milliseconds(100));
  EXPECT_EQ(budget.Rows(1), kFloor);

  PrefillBudget fast(kMax);
  fast.Ran(1, 0, milliseconds(1000));
  fast.Ran(0, 100, milliseconds(10));
  EXPECT_EQ(fast.Rows(1), kMax);
}

TEST(PrefillBudget, LetsReplaysStopTheOthersForAShortTime) {
  PrefillBudget budget(kMax);
  EXPECT_EQ(budget.ReplayRows(1), kFloor);  // until it knows
  budget.Ran(4, 0, milliseconds(5));
  budget.Ran(0, 100, milliseconds(55));  // half a millisecond a row, and 5 to read the weights
  EXPECT_EQ(budget.Rows(4), kFloor);
  EXPECT_EQ(budget.ReplayRows(4), 100);
  EXPECT_EQ(budget.ReplayRows(0), kMax);
}

TEST(PrefillBudget, OfReplaysIsNeverUnderThatOfNewPrompts) {
  PrefillBudget budget(kMax);
  budget.Ran(4, 0, milliseconds(200));
  budget.Ran(0, 100, milliseconds(300));
  EXPECT_EQ(budget.ReplayRows(4), 200);
  budget.Ran(0, 100, milliseconds(0));
  EXPECT_LE(budget.ReplayRows(4), kMax);
}

// A mixed batch took what its decodes take alone, and its rows the rest.
TEST(PrefillBudget, TakesTheDecodesOutOfAMixedBatch) {
  PrefillBudget budget(kMax);
  budget.Ran(4, 0, milliseconds(40));
  budget.Ran(4, 40, milliseconds(60));  // half a millisecond a row
  EXPECT_EQ(budget.Rows(4), 80);
}

// Where the decodes alone are said to take longer than all of it, a quarter is the rows'.
TEST(PrefillBudget, NeverBelievesThatRowsCostNothing) {
  PrefillBudget budget(kMax);
  budget.Ran(4, 0, milliseconds(100));
  budget.Ran(4, 100, milliseconds(40));  // 0.1 ms a row
  EXPECT_EQ(budget.Rows(4), kMax);       // 1000 would fit
  RunOften(&budget, 4, 0, milliseconds(20));
  EXPECT_NEAR(budget.Rows(4), 200, 1);
}

// A few rows cost little more than one: what they take says nothing of many.
TEST(PrefillBudget, LearnsNothingFromAHandfulOfRows) {
  PrefillBudget budget(kMax);
  budget.Ran(1, 0, milliseconds(50));
  budget.Ran(0, 100, milliseconds(150));
  RunOften(&budget, 0, kFloor - 1, milliseconds(500));
  EXPECT_EQ(budget.Rows(1), 50);
}

TEST(PrefillBudget, FollowsWhatBatchesTakeNowWithoutJumping) {
  PrefillBudget budget(kMax);
  budget.Ran(1, 0, milliseconds(50));
  budget.Ran(1, 100, milliseconds(150));
  budget.Ran(1, 0, milliseconds(100));  // a fifth of the way
  EXPECT_EQ(budget.Rows(1), 60);
  RunOften(&budget, 1, 0, milliseconds(100));
  EXPECT_NEAR(budget.Rows(1), 100, 1);
  RunOften(&budget, 1, 100, milliseconds(150));
  EXPECT_NEAR(budget.Rows(1), 200, 1);
}

// What a batch takes on a device that reads all weights for one row as for many, and computes
// quickly.
Nanoseconds OfADevice(int64_t rows) {
  return std::max<Nanoseconds>(milliseconds(8), std::chrono::microseconds(40) * rows);
}

// It would be at its floor for ever, were the reading of the weights counted as its few rows'.
TEST(PrefillBudget, GrowsWhereAFewRowsTakeAsLongAsOne) {
  PrefillBudget budget(kMax);
  budget.Ran(1, 0, OfADevice(1));
  for (int i = 0; i < 100; ++i) budget.Ran(0, budget.Rows(1), OfADevice(budget.Rows(1)));
  EXPECT_GT(budget.Rows(1), 200);
}

TEST(PrefillBudget, NeedsNoBatchOfDecodesAlone) {
  PrefillBudget budget(kMax);
  budget.Ran(0, kMax, OfADevice(kMax));
  for (int i = 0; i < 100; ++i) {
    const int64_t rows = budget.Rows(4);
    budget.Ran(4, rows, OfADevice(4 + rows));
  }
  EXPECT_GT(budget.Rows(4), 200);
}

}  // namespace
}  // namespace catena
