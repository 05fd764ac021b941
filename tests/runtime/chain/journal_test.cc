#include "runtime/chain/journal.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/chain/inbox.h"

namespace catena {
namespace {

constexpr int64_t kRowBytes = 4;
constexpr int64_t kBlock = 16;  // rows that memory is taken and given back by

std::string Row(int64_t position) {
  std::string row = fmt::format("{:04}", position);
  CATENA_CHECK(row.size() == kRowBytes);
  return row;
}

// A journal whose rows say their positions, unless a test says otherwise.
class JournalTest : public ::testing::Test {
 protected:
  void AppendUpTo(Journal* journal, int64_t end) {
    while (journal->end() < end) journal->Append(Row(journal->end()).data());
  }
  // Exactly the rows of [from, to) are read, each with its hash.
  void ExpectRows(const Journal& journal, int64_t from, int64_t to) {
    std::string bytes, want;
    std::vector<uint64_t> hashes, want_hashes;
    journal.Read(from, to, &bytes, &hashes);
    for (int64_t p = from; p < to; ++p) {
      want += Row(p);
      want_hashes.push_back(HashRow(Row(p).data(), kRowBytes));
    }
    EXPECT_EQ(bytes, want);
    EXPECT_EQ(hashes, want_hashes);
  }
  static constexpr int64_t kBlockBytes = kBlock * kRowBytes;

  JournalBudget budget_{.limit_bytes = 2 * kBlockBytes};
};

TEST_F(JournalTest, GivesBackWhatWasAppendedWithItsHashesAcrossBlocks) {
  Journal journal(0, kRowBytes, &budget_);
  AppendUpTo(&journal, 3 * kBlock + 5);
  ExpectRows(journal, 0, 3 * kBlock + 5);
  ExpectRows(journal, kBlock - 1, 2 * kBlock + 1);  // over two borders
  ExpectRows(journal, kBlock, 2 * kBlock);          // exactly one block
  ExpectRows(journal, 20, 21);
  ExpectRows(journal, 20, 20);  // nothing
}

TEST_F(JournalTest, ReadsBehindWhatTheReaderHasAlready) {
  Journal journal(0, kRowBytes, &budget_);
  AppendUpTo(&journal, 2);
  std::string bytes = "before";
  std::vector<uint64_t> hashes = {7};
  journal.Read(1, 2, &bytes, &hashes);
  EXPECT_EQ(bytes, "before" + Row(1));
  EXPECT_EQ(hashes, (std::vector<uint64_t>{7, HashRow(Row(1).data(), kRowBytes)}));
}

TEST_F(JournalTest, BeginsAtTheFirstPositionThatHasARow) {
  Journal journal(37, kRowBytes, &budget_);
  EXPECT_EQ(journal.begin(), 37);
  EXPECT_EQ(journal.end(), 37);
  EXPECT_EQ(journal.bytes(), 0);
  AppendUpTo(&journal, 37 + kBlock + 1);
  ExpectRows(journal, 37, 37 + kBlock + 1);
  EXPECT_EQ(journal.bytes(), 2 * kBlockBytes);
}

TEST_F(JournalTest, ReadingWhatItDoesNotHaveIsABug) {
  Journal journal(5, kRowBytes, &budget_);
  AppendUpTo(&journal, 8);
  std::string bytes;
  std::vector<uint64_t> hashes;
  EXPECT_DEATH(journal.Read(4, 8, &bytes, &hashes), "check failed");
  EXPECT_DEATH(journal.Read(5, 9, &bytes, &hashes), "check failed");
  EXPECT_DEATH(journal.Truncate(4), "check failed");
}

TEST_F(JournalTest, TruncateKeepsWhatIsBeforeAndTakesOthersBehindIt) {
  Journal journal(0, kRowBytes, &budget_);
  AppendUpTo(&journal, 2 * kBlock + 3);
  journal.Truncate(kBlock + 2);
  EXPECT_EQ(journal.end(), kBlock + 2);
  ExpectRows(journal, 0, kBlock + 2);
  journal.Append("new!");
  std::string bytes;
  std::vector<uint64_t> hashes;
  journal.Read(kBlock + 1, kBlock + 3, &bytes, &hashes);
  EXPECT_EQ(bytes, Row(kBlock + 1) + "new!");
  EXPECT_EQ(hashes[1], HashRow("new!", kRowBytes));
}

TEST_F(JournalTest, TruncateAtABorderGivesTheBlockBehindItBack) {
  Journal journal(0, kRowBytes, &budget_);
  AppendUpTo(&journal, kBlock + 1);
  journal.Truncate(kBlock);
  EXPECT_EQ(journal.bytes(), kBlockBytes);
  AppendUpTo(&journal, kBlock + 1);
  ExpectRows(journal, 0, kBlock + 1);
  journal.Truncate(0);
  EXPECT_EQ(journal.bytes(), 0);
  EXPECT_EQ(journal.end(), 0);
}

TEST_F(JournalTest, TruncateAtOrBehindTheEndDoesNothing) {
  Journal journal(0, kRowBytes, &budget_);
  AppendUpTo(&journal, 5);
  journal.Truncate(5);
  journal.Truncate(100);
  EXPECT_EQ(journal.end(), 5);
  ExpectRows(journal, 0, 5);
}

TEST_F(JournalTest, RestartForgetsAllAndGoesOnAnywhere) {
  Journal journal(10, kRowBytes, &budget_);
  AppendUpTo(&journal, 50);
  for (const int64_t position : {3, 80}) {
    journal.Restart(position);
    EXPECT_EQ(journal.begin(), position);
    EXPECT_EQ(journal.end(), position);
    EXPECT_EQ(budget_.used_bytes, 0);
    AppendUpTo(&journal, position + 3);
    ExpectRows(journal, position, position + 3);
  }
}

TEST_F(JournalTest, DropsTheOldestBlockOnlyOnceAllOfItIsBelowThePosition) {
  Journal journal(4, kRowBytes, &budget_);
  AppendUpTo(&journal, 4 + 3 * kBlock);
  EXPECT_FALSE(journal.DropOldest(4 + kBlock - 1));
  EXPECT_EQ(journal.begin(), 4);
  EXPECT_TRUE(journal.DropOldest(4 + kBlock));
  EXPECT_EQ(journal.begin(), 4 + kBlock);
  EXPECT_FALSE(journal.DropOldest(4 + kBlock));
  EXPECT_TRUE(journal.DropOldest(1000));
  EXPECT_EQ(journal.begin(), 4 + 2 * kBlock);
  ExpectRows(journal, 4 + 2 * kBlock, 4 + 3 * kBlock);
}

TEST_F(JournalTest, NeverDropsABlockThatIsNotFull) {
  Journal journal(0, kRowBytes, &budget_);
  EXPECT_FALSE(journal.DropOldest(1000));  // there is none
  AppendUpTo(&journal, kBlock - 1);
  EXPECT_FALSE(journal.DropOldest(1000));
  AppendUpTo(&journal, kBlock);
  EXPECT_TRUE(journal.DropOldest(1000));
  EXPECT_EQ(journal.begin(), journal.end());
  AppendUpTo(&journal, kBlock + 2);
  ExpectRows(journal, kBlock, kBlock + 2);
}

TEST_F(JournalTest, AllJournalsOfAStageCountInOneBudgetByWholeBlocks) {
  Journal one(0, kRowBytes, &budget_);
  {
    Journal other(0, kRowBytes, &budget_);
    AppendUpTo(&one, 1);
    EXPECT_EQ(budget_.used_bytes, kBlockBytes);
    AppendUpTo(&one, kBlock);
    AppendUpTo(&other, 1);
    EXPECT_EQ(budget_.used_bytes, 2 * kBlockBytes);
    EXPECT_FALSE(budget_.exceeded());
    AppendUpTo(&other, kBlock + 1);
    EXPECT_EQ(budget_.used_bytes, 3 * kBlockBytes);
    EXPECT_TRUE(budget_.exceeded());
    EXPECT_EQ(other.bytes(), 2 * kBlockBytes);
    other.DropOldest(kBlock);
    EXPECT_EQ(budget_.used_bytes, 2 * kBlockBytes);
    EXPECT_FALSE(budget_.exceeded());
  }
  EXPECT_EQ(budget_.used_bytes, kBlockBytes);  // what is destroyed holds nothing
}

}  // namespace
}  // namespace catena
