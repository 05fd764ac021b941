#include "bench/sim/cases.h"

#include <algorithm>

namespace catena::sim {

ModelShape Llama8B() {
  return {.n_layers = 32,
          .block_bytes = 436'224'000,
          .embedding_bytes = 1'050'673'152,
          .head_bytes = 1'050'673'152,
          .block_parameters = 218'112'000,
          .head_parameters = 525'336'576,
          .kv_bytes = 131'072,
          .row_bytes = 8192};
}

ModelShape Phi3Mini() {
  return {.n_layers = 32,
          .block_bytes = 226'505'216,
          .embedding_bytes = 197'001'216,
          .head_bytes = 197'007'360,
          .block_parameters = 113'252'608,
          .head_parameters = 98'503'680,
          .kv_bytes = 393'216,
          .row_bytes = 6144};
}

std::vector<Case> Cases() {
  return {
      {.name = "one shard", .model = Llama8B(), .gpu = "h100", .gpus = 4, .share = 0.4},
      {.name = "two shards", .model = Llama8B(), .gpu = "h100", .gpus = 5, .shards = 2},
      {.name = "four shards, busy",
       .model = Llama8B(),
       .gpu = "h100",
       .gpus = 9,
       .shards = 4,
       .share = 0.6,
       .input = 500},
      {.name = "long answers",
       .model = Llama8B(),
       .gpu = "h200",
       .gpus = 5,
       .shards = 4,
       .share = 0.3,
       .input = 100,
       .output = 400},
      {.name = "long prompts",
       .model = Llama8B(),
       .gpu = "a100",
       .gpus = 7,
       .shards = 3,
       .input = 2000,
       .output = 100},
      {.name = "slow GPUs",
       .model = Phi3Mini(),
       .gpu = "l4",
       .gpus = 5,
       .shards = 4,
       .share = 0.3,
       .input = 500,
       .output = 100},
      {.name = "eight shards, three gateways",
       .model = Llama8B(),
       .gpu = "h100",
       .gpus = 26,
       .shards = 8,
       .share = 0.15,
       .input = 300,
       .output = 100,
       .gateways = 3},
  };
}

Comparison Compare(const Case& c, const std::function<void(ServingCluster*)>& wrong) {
  Comparison made{.load = {.requests_per_s = 1, .input_tokens = c.input, .output_tokens = c.output},
                  .forecast = std::nullopt,
                  .loss = std::nullopt,
                  .measured = {}};
  PlanOptions options;
  options.gpu = *FindGpu(c.gpu);
  const ClusterPlan plan = *PlanCluster(c.model, options, c.gpus, c.shards, made.load);
  made.most_requests = plan.most_requests;
  made.load.requests_per_s = c.share * plan.most_requests;
  made.replicas = plan.cluster.stages[0].replicas;
  made.forecast = ForecastOf(plan.cluster, made.load);
  if (c.lost > 0 && made.forecast) {
    made.loss = ForecastLoss(plan.cluster, made.load, plan.cluster.shards() - 1, c.lost);
  }
  ClusterOptions run{
      .cluster = plan.cluster, .load = made.load, .gateways = c.gateways, .lost = c.lost};
  if (wrong) wrong(&run.cluster);
  // Until as many run as ever will.
  const double settles = made.forecast ? made.forecast->first_token_s +
                                             static_cast<double>(c.output) * made.forecast->token_s
                                       : 10;
  run.warm_up = Nanoseconds(static_cast<int64_t>(1.5e9 * settles));
  constexpr double kRequests = 400;  // so many that chance counts little
  run.measured = Nanoseconds(static_cast<int64_t>(1e9 * kRequests / made.load.requests_per_s));
  run.measured = std::max(run.measured, run.warm_up / 2);
  made.measured = RunCluster(run);
  return made;
}

}  // namespace catena::sim
