// The clusters on which the arithmetic of runtime/capacity is held against the cores.
//
// Thread rules: pure functions.
#pragma once

#include <string>
#include <vector>

#include "bench/sim/cluster.h"

#include "runtime/capacity/cluster_plan.h"

namespace catena::sim {

// Llama 3.1 8B and Phi-3-mini, with weights in 16 bits.
ModelShape Llama8B();
ModelShape Phi3Mini();

struct Case {
  std::string name;
  ModelShape model;
  std::string gpu;
  int gpus = 0, shards = 1;
  double share = 0.5;  // of the most that the cluster carries, by the arithmetic
  int64_t input = 1000, output = 200;
  int gateways = 1;
  int lost = 0;  // replicas of the last shard
};

// Small ones, that take a second each.
std::vector<Case> Cases();

// One that is simulated, and what the arithmetic says of it. The load is `share` of the most.
struct Comparison {
  ServingLoad load;
  double most_requests = 0;
  int replicas = 0;  // of each shard
  std::optional<Forecast> forecast;
  std::optional<LossForecast> loss;  // where some are lost
  Measured measured;
};
// `wrong`: the cluster that is simulated, where it is another than the arithmetic is told: for
// tests of this comparison.
Comparison Compare(const Case& c, const std::function<void(ServingCluster*)>& wrong = nullptr);

}  // namespace catena::sim
