#include "runtime/capacity/cluster_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using absl::StatusCode;

// Of 8 GB, 32 blocks.
ModelShape Model() {
  return {.n_layers = 32,
          .block_bytes = 240'000'000,
          .embedding_bytes = 200'000'000,
          .head_bytes = 200'000'000,
          .block_parameters = 120'000'000,
          .head_parameters = 100'000'000,
          .kv_bytes = 400'000,
          .row_bytes = 6000};
}
PlanOptions On(const char* gpu) {
  PlanOptions options;
  options.gpu = *FindGpu(gpu);
  return options;
}
ServingLoad Load(double requests_per_s) {
  return {.requests_per_s = requests_per_s, .input_tokens = 500, .output_tokens = 100};
}

TEST(StageSpeed, IsBoundByWhatIsSlower) {
  const StageSpeed speed{.batch_s = 1, .weights_s = 10, .row_s = 2, .position_s = 0.1};
  EXPECT_DOUBLE_EQ(speed.Seconds(1, 0), 11);
  EXPECT_DOUBLE_EQ(speed.Seconds(5, 0), 11);
  EXPECT_DOUBLE_EQ(speed.Seconds(10, 100), 31);
}

TEST(ClusterPlan, GivesEachGpuToAStageAndNoneMoreThanItHolds) {
  for (const int gpus : {2, 5, 9, 64, 1000}) {
    const std::vector<ClusterPlan> plans = *PlanClusters(Model(), On("l4"), gpus, Load(1));
    for (const ClusterPlan& plan : plans) {
      int used = 0, layers = 0;
      for (size_t i = 0; i < plan.stages.size(); ++i) {
        used += plan.cluster.stages[i].replicas;
        if (plan.stages[i].layers) layers += plan.stages[i].layers->size();
        EXPECT_LE(plan.stages[i].weight_bytes + plan.stages[i].kv_bytes, 24'000'000'000);
      }
      EXPECT_EQ(used, gpus);
      EXPECT_EQ(layers, 32);
    }
  }
}

TEST(ClusterPlan, GivesEachStageTwoWhereItCan) {
  const ClusterPlan plan = *PlanCluster(Model(), On("h100"), 20, 4, Load(1));
  for (const ServingStage& s : plan.cluster.stages) EXPECT_GE(s.replicas, 2);
}

TEST(ClusterPlan, SaysWhatIsLacking) {
  EXPECT_EQ(PlanCluster(Model(), On("l4"), 3, 3, Load(1)).status().code(),
            StatusCode::kFailedPrecondition);
  ModelShape large = Model();
  large.block_bytes *= 100;
  const absl::Status status = PlanClusters(large, On("t4"), 8, Load(1)).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(status)), ::testing::HasSubstr("--stages"));
  EXPECT_EQ(FindGpu("k80").status().code(), StatusCode::kInvalidArgument);
}

TEST(ClusterPlan, TakesMeasuredTimesForComputedOnes) {
  PlanOptions options = On("l4");
  const double computed = PlanCluster(Model(), options, 6, 2, Load(1))->forecast->token_s;
  options.measured = MeasuredTimes{.batch_s = 1, .row_s = 1e-3};
  const std::optional<Forecast> slow = PlanCluster(Model(), options, 6, 2, Load(0.01))->forecast;
  ASSERT_TRUE(slow.has_value());
  EXPECT_GT(slow->token_s, 0.9);
  EXPECT_LT(computed, 0.2);
}

// A forecast that loads, losses and GPUs move the right way.
TEST(Forecast, GrowsWithItsLoadUntilNothingMoreIsCarried) {
  const ServingCluster cluster = PlanCluster(Model(), On("h100"), 10, 2, Load(1))->cluster;
  const double most = MostRequests(cluster, Load(1));
  ASSERT_GT(most, 10);
  double first = 0, token = 0;
  for (const double share : {0.1, 0.5, 0.9}) {
    const std::optional<Forecast> f = ForecastOf(cluster, Load(share * most));
    ASSERT_TRUE(f.has_value());
    EXPECT_GT(f->first_token_s, first);
    EXPECT_GT(f->token_s, token);
    EXPECT_GE(f->first_token_p99_s, f->first_token_s);
    EXPECT_NEAR(f->tokens_per_s, 100 * share * most, 1e-6 * most);
    first = f->first_token_s;
    token = f->token_s;
  }
  EXPECT_FALSE(ForecastOf(cluster, Load(1.1 * most)).has_value());
  const double twice = PlanCluster(Model(), On("h100"), 20, 2, Load(1))->most_requests / most;
  EXPECT_NEAR(twice, 2, 0.3);
}

TEST(Forecast, NamesWhatBoundsIt) {
  ServingCluster cluster = PlanCluster(Model(), On("h100"), 10, 2, Load(1))->cluster;
  Bound bound = Bound::kRows;
  cluster.stages[0].kv_positions = 5000;
  MostRequests(cluster, Load(1), &bound);
  EXPECT_EQ(bound, Bound::kKvCache);
  cluster.stages[0].kv_positions = 1 << 30;
  cluster.stages[1].kv_positions = 1 << 30;
  cluster.stages.back().speed.row_s = 1;
  MostRequests(cluster, Load(1), &bound);
  EXPECT_EQ(bound, Bound::kHeads);
}

TEST(Forecast, ALostReplicaCostsAPauseAndItsShare) {
  const ServingCluster cluster = PlanCluster(Model(), On("h100"), 10, 2, Load(1))->cluster;
  const ServingLoad load = Load(0.4 * MostRequests(cluster, Load(1)));
  const std::optional<LossForecast> one = ForecastLoss(cluster, load, 1, 1);
  ASSERT_TRUE(one.has_value());
  EXPECT_GT(one->pause_mean_s, 0);
  EXPECT_GE(one->pause_most_s, one->pause_mean_s);
  EXPECT_LT(one->most_requests, MostRequests(cluster, load));
  const std::optional<LossForecast> two = ForecastLoss(cluster, load, 1, 2);
  ASSERT_TRUE(two.has_value());
  EXPECT_GT(two->pause_most_s, one->pause_most_s);
  EXPECT_FALSE(ForecastLoss(cluster, load, 1, cluster.stages[1].replicas).has_value());
}

}  // namespace
}  // namespace catena
