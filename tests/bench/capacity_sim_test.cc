// The arithmetic of runtime/capacity against the real cores in simulated time.
#include "bench/sim/cases.h"
#include <gtest/gtest.h>

namespace catena::sim {
namespace {

// How far the two may be apart: what docs/CAPACITY.md promises.
constexpr double kToken = 1.3, kFirstToken = 1.6, kThroughput = 1.15;

bool Near(double a, double b, double factor) { return a < b * factor && b < a * factor; }

class Cluster : public ::testing::TestWithParam<Case> {};

TEST_P(Cluster, DoesWhatTheArithmeticSays) {
  const Comparison c = Compare(GetParam());
  ASSERT_EQ(c.measured.problem, "");
  ASSERT_TRUE(c.forecast.has_value());
  const Measured& m = c.measured;
  EXPECT_PRED3(Near, c.forecast->token_s, m.token.mean, kToken);
  EXPECT_PRED3(Near, c.forecast->first_token_s, m.first_token.mean, kFirstToken);
  EXPECT_PRED3(Near, c.forecast->tokens_per_s, m.tokens_per_s, kThroughput);
}

INSTANTIATE_TEST_SUITE_P(All, Cluster, ::testing::ValuesIn(Cases()), [](const auto& info) {
  std::string name = info.param.name;
  std::erase_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
  return name;
});

// The comparison would notice a model that is wrong by half.
TEST(CapacitySim, NoticesAStageThatIsSlowerThanItWasTold) {
  const Comparison c = Compare(
      Cases()[2], [](ServingCluster* cluster) { cluster->stages[1].speed.weights_s *= 2.5; });
  EXPECT_FALSE(Near(c.forecast->token_s, c.measured.token.mean, kToken));
}

TEST(CapacitySim, NoticesPromptsThatCostMoreThanItWasTold) {
  const Comparison c = Compare(Cases()[4], [](ServingCluster* cluster) {
    for (ServingStage& s : cluster->stages) s.speed.row_s *= 2;
  });
  EXPECT_FALSE(Near(c.forecast->first_token_s, c.measured.first_token.mean, kFirstToken));
}

// What it is said to carry at most it carries nearly, and not half as much again.
TEST(CapacitySim, TheMostThatAClusterCarriesIsWhereItsQueuesGrow) {
  Case c = Cases()[5];
  c.share = 0.8;
  const Comparison below = Compare(c);
  EXPECT_EQ(below.measured.problem, "");
  EXPECT_LT(below.measured.first_token.p99, 1.5);
  c.share = 1.5;
  const Comparison above = Compare(c);
  EXPECT_FALSE(above.forecast.has_value());
  EXPECT_EQ(above.measured.problem, "");  // what comes late comes right
  EXPECT_GT(above.measured.first_token.p99, 3);
}

}  // namespace
}  // namespace catena::sim
