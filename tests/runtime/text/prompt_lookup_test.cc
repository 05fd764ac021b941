#include "runtime/text/prompt_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<int32_t> Propose(const PromptLookup& lookup, const std::vector<int32_t>& ids,
                             int64_t room = 100) {
  std::vector<int32_t> drafts = {99};
  lookup.Propose(ids, room, &drafts);
  return drafts;
}

TEST(PromptLookup, GuessesWhatFollowedTheLastTime) {
  const PromptLookup lookup(3);
  EXPECT_THAT(Propose(lookup, {1, 2, 3, 4, 5, 6, 1, 2}), ElementsAre(3, 4, 5));
  EXPECT_THAT(Propose(lookup, {1, 2, 3, 1, 2, 4, 7, 8, 1, 2}), ElementsAre(4, 7, 8));
}

TEST(PromptLookup, PrefersTheLongestMatch) {
  const PromptLookup lookup(2);
  EXPECT_THAT(Propose(lookup, {9, 1, 2, 3, 5, 8, 1, 2, 4, 9, 1, 2}), ElementsAre(3, 5));
}

TEST(PromptLookup, GoesOnWithAPeriod) {
  const PromptLookup lookup(5);
  EXPECT_THAT(Propose(lookup, {7, 1, 2, 1, 2}), ElementsAre(1, 2, 1, 2, 1));
  EXPECT_THAT(Propose(lookup, {4, 4, 4}), ElementsAre(4, 4, 4, 4, 4));
}

TEST(PromptLookup, GuessesNothingWhereNothingIsAlike) {
  const PromptLookup lookup(5);
  EXPECT_THAT(Propose(lookup, {}), IsEmpty());
  EXPECT_THAT(Propose(lookup, {1}), IsEmpty());
  EXPECT_THAT(Propose(lookup, {1, 2, 3, 4}), IsEmpty());
  EXPECT_THAT(Propose(lookup, {1, 2, 3, 1}), IsEmpty());  // one token says too little
  EXPECT_THAT(Propose(PromptLookup(0), {1, 2, 1, 2}), IsEmpty());
}

TEST(PromptLookup, GuessesNoMoreThanThereIsRoomFor) {
  const PromptLookup lookup(5);
  EXPECT_THAT(Propose(lookup, {1, 2, 1, 2}, 2), ElementsAre(1, 2));
  EXPECT_THAT(Propose(lookup, {1, 2, 1, 2}, 0), IsEmpty());
  EXPECT_THAT(Propose(lookup, {1, 2, 1, 2}, -1), IsEmpty());
}

TEST(PromptLookup, GuessesFewerWhereItWasWrongAndMoreWhereItWasRight) {
  PromptLookup lookup(8);
  const std::vector<int32_t> ids = {4, 4, 4};
  lookup.Judge(8, 2);
  EXPECT_EQ(Propose(lookup, ids).size(), 3u);
  lookup.Judge(3, 0);
  EXPECT_EQ(Propose(lookup, ids).size(), 1u);
  for (const size_t expected : {2, 4, 8, 8}) {
    const auto n = static_cast<int64_t>(Propose(lookup, ids).size());
    lookup.Judge(n, n);
    EXPECT_EQ(Propose(lookup, ids).size(), expected);
  }
}

}  // namespace
}  // namespace catena
