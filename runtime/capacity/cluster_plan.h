// How many stages, and how many replicas of each, a number of GPUs is best made into for a load.
//
// Thread rules: pure functions and plain values.
#pragma once

#include <optional>
#include <vector>

#include "kernels/base/status.h"
#include "runtime/capacity/forecast.h"
#include "runtime/capacity/gpu.h"
#include "runtime/stage/layer_range.h"

namespace catena {

// What of a model capacity depends on. Bytes are those that a GPU holds and reads.
struct ModelShape {
  int n_layers = 0;
  int64_t block_bytes = 0, embedding_bytes = 0, head_bytes = 0;
  int64_t block_parameters = 0, head_parameters = 0;
  int64_t kv_bytes = 0;   // of one position, all layers
  int64_t row_bytes = 0;  // of a row on a hop
};

// Of the whole model in one process on one such GPU (catena bench speed).
struct MeasuredTimes {
  double batch_s = 0;  // of a batch of one row
  double row_s = 0;    // of each row of a large one
};

struct PlanOptions {
  Gpu gpu;
  // Of what the datasheet says. Assumptions, not measurements.
  double bandwidth_share = 0.6, compute_share = 0.4;
  std::optional<MeasuredTimes> measured;       // instead
  double launch_s = 100e-6;                    // of a batch, besides: kernels, scheduling, copies
  double hop_s = 150e-6;                       // one way between two processes
  double link_bytes_per_s = 3e9;               // 25 Gbit/s Ethernet, less what frames take
  int64_t workspace_bytes = int64_t{2} << 30;  // of a GPU, besides weights and KV cache
  int64_t stage_rows = 512, head_rows = 64;    // of a batch, as --batch of the roles
};

struct PlannedReplica {
  std::optional<LayerRange> layers;  // a head has none
  int64_t weight_bytes = 0, kv_bytes = 0;
};

struct ClusterPlan {
  ServingCluster cluster;
  std::vector<PlannedReplica> stages;  // as those of `cluster`
  double most_requests = 0;            // a second,
  Bound bound = Bound::kTrips;         // and what does not let it carry more
  std::optional<Forecast> forecast;    // of the load; nullopt where it cannot carry it
};

// With so many shards a route, and a head. FAILED_PRECONDITION where that needs more GPUs than
// there are, or more memory than they have. INVALID_ARGUMENT unless 1 <= shards <= n_layers.
absl::StatusOr<ClusterPlan> PlanCluster(const ModelShape& model, const PlanOptions& options,
                                        int gpus, int shards, const ServingLoad& load);

// The same with each number of shards worth trying: 1, 2, 3, 4, 6, 8, 12 ... FAILED_PRECONDITION
// that says what is lacking where none can be.
absl::StatusOr<std::vector<ClusterPlan>> PlanClusters(const ModelShape& model,
                                                      const PlanOptions& options, int gpus,
                                                      const ServingLoad& load);
// Of these, the one to take: of those that carry the load with something to spare the one that
// writes fastest, else the one that carries most. REQUIRES: there is one.
const ClusterPlan& BestOf(const std::vector<ClusterPlan>& plans, const ServingLoad& load);

}  // namespace catena
