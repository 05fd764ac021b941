#include "runtime/chain/sequence_ids.h"

#include <gtest/gtest.h>

namespace catena {
namespace {

constexpr SequenceKey kKey{1, 1};

// All that the first stage may be sent now, as one step of its first part.
Step NextStep(SequenceIds* ids) {
  const auto step = ids->NextStep();
  return step ? step->second : Step{};
}

TEST(SequenceIds, ATextThatPassesTheRotarySwitchIsComputedAnew) {
  SequenceIds ids(kKey, {1, 2, 3}, 3, 0, 100, 4);
  EXPECT_EQ(NextStep(&ids).rotary, 0);
  ids.Append(4);
  EXPECT_EQ(ids.life().round, 0u);
  EXPECT_EQ(NextStep(&ids).position, 3);
  ids.Append(5);
  EXPECT_EQ(ids.life().round, 1u);
  const Step anew = NextStep(&ids);
  EXPECT_EQ(anew.rotary, 1);
  EXPECT_EQ(anew.round_begin, 0);
  EXPECT_EQ(anew.position, 0);
  EXPECT_EQ(anew.ids, (std::vector<int32_t>{1, 2, 3, 4, 5}));
  ids.Append(6);
  EXPECT_EQ(ids.life().round, 1u);  // once
  EXPECT_EQ(NextStep(&ids).position, 5);
}

TEST(SequenceIds, APromptBeyondTheRotarySwitchHasTheSecondFactorsFromTheStart) {
  SequenceIds at(kKey, {1, 2, 3, 4}, 4, 0, 100, 4), beyond(kKey, {1, 2, 3, 4, 5}, 5, 0, 100, 4);
  EXPECT_EQ(NextStep(&at).rotary, 0);
  EXPECT_EQ(NextStep(&beyond).rotary, 1);
  EXPECT_EQ(beyond.life().round, 0u);
}

TEST(SequenceIds, GuessesStayOnThisSideOfTheRotarySwitch) {
  SequenceIds ids(kKey, {1, 2, 3, 1, 2, 3, 1}, 7, 8, 100, 9);
  ids.Append(2);  // what followed before: 3, 1, 2, 3, 1
  ids.Draft();
  EXPECT_EQ(ids.size(), 9);
  SequenceIds no_switch(kKey, {1, 2, 3, 1, 2, 3, 1}, 7, 8, 100, 0);
  no_switch.Append(2);
  no_switch.Draft();
  EXPECT_GT(no_switch.size(), 9);
}

TEST(SequenceIds, AStepSaysWhereTheRoundsBeganThatTheFirstStageMayHaveMissed) {
  SequenceIds ids(kKey, {1, 2, 1, 2, 1}, 5, 4, 100, 0);
  ids.Append(2);
  ids.Draft();  // 1, 2, …
  ASSERT_GT(ids.size(), 6);
  NextStep(&ids);
  ids.Append(7);
  EXPECT_EQ(ids.life().round, 1u);
  const Step step = NextStep(&ids);
  EXPECT_EQ(step.position, 6);
  EXPECT_EQ(step.round_begin, 6);
}

}  // namespace
}  // namespace catena
