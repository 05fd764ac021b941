// catena plan --gpus: how many stages and replicas a number of GPUs is best made into for a load,
// and what to expect of them. Computed from shapes and datasheets, or from measured times; nothing
// is run.
//
// Thread rules: any thread.
#pragma once

#include <string>

#include "model/config.h"
#include "runtime/capacity/cluster_plan.h"
#include "services/cli/app.h"
#include "services/cli/model_sizes.h"

namespace catena::cli {

struct CapacityOptions {
  int gpus = 0;
  std::string gpu = "h100";
  double qps = 1;
  int64_t input = 1000, output = 200;  // tokens of a request
  int lost = 1;                        // GPUs at a time
  PlanOptions plan;
  std::string bench;  // a file of catena bench speed --json
  double hop_us = 150, link_gbit = 25;

  // The returned option is the one that asks for such a plan.
  Option Declare(App& app);
};

// Writes the plan as a table, or as JSON. `shards`: of a route; 0: what is best.
absl::Status WriteCapacity(const CapacityOptions& options, const ModelConfig& config,
                           const ModelSizes& sizes, int shards, bool json);

}  // namespace catena::cli
