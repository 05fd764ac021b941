// Rotary frequencies to the bit, as the float32 steps of transformers' modeling_rope_utils.py give
// them, whatever a checkpoint's own dtype; and which table a sequence uses.
#include "model/rope_frequencies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using ::testing::ElementsAre;
using Kind = RopeScaling::Kind;

ModelConfig Config(RopeScaling scaling, double theta = 10000.0) {
  ModelConfig c;
  c.rotary_dim = 8;
  c.context_length = 131072;
  c.rope_theta = theta;
  c.rope_scaling = std::move(scaling);
  return c;
}

RopeScaling LongRope() {
  return {.kind = Kind::kLongRope,
          .original_max_positions = 4096,
          .short_factor = {1.0f, 1.1f, 1.2f, 1.3f},
          .long_factor = {1.0f, 1.5f, 2.0f, 6.0f},
          .attention_factor = 1.19};
}

TEST(RopeFrequencies, AreTheReferencesFloats) {
  EXPECT_THAT(MakeRopeFrequencies(Config({})).values,
              ElementsAre(1.0f, 0x1.99999ap-4f, 0x1.47ae14p-7f, 0x1.0624dep-10f));
  RopeScaling linear;
  linear.kind = Kind::kLinear;
  linear.factor = 3.0;
  EXPECT_THAT(MakeRopeFrequencies(Config(linear)).values,
              ElementsAre(0x1.555556p-2f, 0x1.111112p-5f, 0x1.b4e81ap-9f, 0x1.5d867ep-12f));
}

TEST(RopeFrequencies, OfLlama3KeepShortWavesAndSlowLongOnes) {
  RopeScaling llama3;
  llama3.kind = Kind::kLlama3;
  llama3.factor = 8.0;
  llama3.low_freq_factor = 1.0;
  llama3.high_freq_factor = 4.0;
  llama3.original_max_positions = 8192;
  EXPECT_THAT(MakeRopeFrequencies(Config(llama3, 500000.0)).values,
              ElementsAre(1.0f, 0x1.341190p-5f, 0x1.132ba4p-11f, 0x1.be2188p-18f));
}

TEST(RopeFrequencies, OfYarnKeepFastWavesAndSlowThoseThatTurnLessThanOnce) {
  RopeScaling yarn;
  yarn.kind = Kind::kYarn;
  yarn.factor = 4.0;
  yarn.original_max_positions = 4096;
  yarn.attention_factor = 1.25;
  const RopeFrequencies rope = MakeRopeFrequencies(Config(yarn));
  EXPECT_EQ(rope.tables, 1);
  EXPECT_EQ(rope.scale, 1.25f);
  EXPECT_THAT(rope.values, ElementsAre(1.0f, 0x1.99999ap-4f, 0x1.999998p-8f, 0x1.0624dep-12f));
  yarn.whole_dimensions = false;
  EXPECT_THAT(MakeRopeFrequencies(Config(yarn)).values,
              ElementsAre(1.0f, 0x1.99999ap-4f, 0x1.adb7b8p-8f, 0x1.0624dep-12f));
  yarn.whole_dimensions = true;
  yarn.original_max_positions = 64;  // no wave turns 32 times
  EXPECT_THAT(MakeRopeFrequencies(Config(yarn)).values,
              ElementsAre(1.0f, 0x1.000000p-4f, 0x1.47ae14p-9f, 0x1.0624dep-12f));
}

TEST(RopeFrequencies, OfLongRopeAreTwoTablesAndAScale) {
  const RopeFrequencies rope = MakeRopeFrequencies(Config(LongRope()));
  EXPECT_EQ(rope.tables, 2);
  EXPECT_EQ(rope.scale, 1.19f);
  EXPECT_THAT(rope.values, ElementsAre(1.0f, 0x1.745d18p-4f, 0x1.111110p-7f, 0x1.934c68p-11f, 1.0f,
                                       0x1.111112p-4f, 0x1.47ae14p-8f, 0x1.5d867cp-13f));
}

TEST(RotarySwitch, IsTheOriginalContextWhereThereIsMore) {
  ModelConfig c = Config(LongRope());
  EXPECT_EQ(RotarySwitch(c), 4096);
  EXPECT_EQ(ChooseRotaryTable(c, 1), 0);
  EXPECT_EQ(ChooseRotaryTable(c, 4096), 0);
  EXPECT_EQ(ChooseRotaryTable(c, 4097), 1);
  c.context_length = 4096;
  EXPECT_EQ(RotarySwitch(c), 0);
  EXPECT_EQ(MakeRopeFrequencies(c).tables, 1);
  EXPECT_EQ(ChooseRotaryTable(c, 4096), 0);
  EXPECT_EQ(RotarySwitch(Config({})), 0);
  EXPECT_EQ(ChooseRotaryTable(Config({}), 131072), 0);
}

}  // namespace
}  // namespace catena
