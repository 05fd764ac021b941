#include "runtime/chain/batch_limit.h"

#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;

// Batches as large as allowed, of which each row takes so long.
void RunFull(BatchLimit* limit, int batches, Nanoseconds row) {
  for (int i = 0; i < batches; ++i) limit->Ran(limit->rows(), row * limit->rows());
}

TEST(BatchLimit, ReachesTheMostInThreeBatchesWhereTheyAreQuick) {
  BatchLimit limit(512, milliseconds(1000));
  EXPECT_EQ(limit.rows(), 1);
  RunFull(&limit, 3, milliseconds(1));
  EXPECT_EQ(limit.rows(), 512);
  RunFull(&limit, 3, milliseconds(1));
  EXPECT_EQ(limit.rows(), 512);
}

TEST(BatchLimit, IsWhatFitsIntoTheTime) {
  BatchLimit limit(512, milliseconds(1000));
  RunFull(&limit, 10, milliseconds(30));
  EXPECT_EQ(limit.rows(), 33);
}

TEST(BatchLimit, IsOneRowWhereThatAloneTakesLonger) {
  BatchLimit limit(512, milliseconds(1000));
  RunFull(&limit, 3, milliseconds(7000));
  EXPECT_EQ(limit.rows(), 1);
}

TEST(BatchLimit, ShrinksAtOnceWhenABatchWasSlow) {
  BatchLimit limit(512, milliseconds(1000));
  RunFull(&limit, 5, milliseconds(1));
  limit.Ran(64, milliseconds(4000));
  EXPECT_EQ(limit.rows(), 16);
}

TEST(BatchLimit, QuickBatchesOfAFewRowsLeaveItAsItIs) {
  BatchLimit limit(512, milliseconds(1000));
  RunFull(&limit, 5, milliseconds(1));
  limit.Ran(1, milliseconds(900));  // most of which any batch costs
  EXPECT_EQ(limit.rows(), 512);
}

}  // namespace
}  // namespace catena
