#include "runtime/capacity/cluster_plan.h"

#include <algorithm>

#include <fmt/format.h>

namespace catena {
namespace {

// A plan is to carry so many times its load: what comes by chance comes in bursts.
constexpr double kSpare = 1.25;
// Worth trying: a stage more costs a hop a token, so that few more are no better than none.
constexpr int kShards[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
// Trips that differ by less are equally fast.
constexpr double kSameTrip = 1.02;

// The part of the model that a stage is.
struct Part {
  double bytes = 0, parameters = 0;  // read and multiplied with a row
  double kv_bytes = 0;               // of a position
  int64_t held_bytes = 0;
};

Part PartOf(const ModelShape& m, const LayerRange& layers) {
  const auto n = static_cast<double>(layers.size());
  return {
      .bytes = n * static_cast<double>(m.block_bytes),
      .parameters = n * static_cast<double>(m.block_parameters),
      .kv_bytes = static_cast<double>(m.kv_bytes) * n / m.n_layers,
      .held_bytes = m.block_bytes * layers.size() + (layers.begin == 0 ? m.embedding_bytes : 0)};
}

StageSpeed SpeedOf(const ModelShape& m, const PlanOptions& o, const Part& part) {
  const double bandwidth = o.gpu.bytes_per_s * o.bandwidth_share;
  const double position_s = part.kv_bytes / bandwidth;
  if (o.measured) {
    const auto all = static_cast<double>(m.block_bytes * m.n_layers + m.head_bytes);
    return {.batch_s = 0,
            .weights_s = o.measured->batch_s * part.bytes / all,
            .row_s = o.measured->row_s * part.bytes / all,
            .position_s = position_s};
  }
  return {.batch_s = o.launch_s,
          .weights_s = part.bytes / bandwidth,
          .row_s = 2 * part.parameters / (o.gpu.flops_per_s * o.compute_share),
          .position_s = position_s};
}

absl::StatusOr<int64_t> KvBytes(const PlanOptions& o, const Part& part) {
  const int64_t left = o.gpu.memory_bytes - o.workspace_bytes - part.held_bytes;
  if (left > 0) return left;
  return absl::FailedPreconditionError(fmt::format(
      "a stage of {:.1f} GB does not fit into the {:.0f} GB of a GPU: give more --stages, for "
      "which --gpus may have to be more, or another --gpu",
      static_cast<double>(part.held_bytes) / 1e9, static_cast<double>(o.gpu.memory_bytes) / 1e9));
}

// A request that no cache has room for never ends.
absl::Status CheckRoom(const ServingLoad& load, int64_t positions) {
  const int64_t wanted = load.input_tokens + load.output_tokens;
  if (wanted <= positions) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "a request has {} positions, and beside its weights a shard has room for {}: give more "
      "--stages, for which --gpus may have to be more, or another --gpu",
      wanted, positions));
}

// All shards get equally many, so that a route has one of each to itself, and heads what is left:
// where the groups of several replicas meet in one they stay apart, and take turns.
void SetReplicas(int gpus, const ServingLoad& load, ClusterPlan* plan) {
  const int shards = static_cast<int>(plan->cluster.shards());
  // Two of each, where that can be: what is lost is to have another place.
  const int least = gpus >= 2 * (shards + 1) ? 2 : 1;
  int best = 0;
  // In steps that are small beside the number, so that thousands do not take minutes.
  for (int routes = (gpus - least) / shards; routes >= least; routes -= 1 + routes / 64) {
    if (best > 0 && gpus - routes * shards > routes * shards) break;  // no model is half a head
    for (ServingStage& s : plan->cluster.stages) s.replicas = routes;
    plan->cluster.stages.back().replicas = gpus - routes * shards;
    const double most = MostRequests(plan->cluster, load);
    if (best > 0 && most <= plan->most_requests) continue;
    best = routes;
    plan->most_requests = most;
  }
  for (ServingStage& s : plan->cluster.stages) s.replicas = best;
  plan->cluster.stages.back().replicas = gpus - best * shards;
  plan->most_requests = MostRequests(plan->cluster, load, &plan->bound);
}

}  // namespace

absl::StatusOr<ClusterPlan> PlanCluster(const ModelShape& model, const PlanOptions& o, int gpus,
                                        int shards, const ServingLoad& load) {
  CATENA_ASSIGN_OR_RETURN(const std::vector<LayerRange> cuts,
                          BalancedCuts(model.n_layers, shards, {}));
  if (gpus < shards + 1) {
    return absl::FailedPreconditionError(fmt::format(
        "{} shards and a head want a GPU each, and there are {}: give more --gpus", shards, gpus));
  }
  ClusterPlan plan;
  std::vector<Part> parts;
  for (const LayerRange& layers : cuts) {
    parts.push_back(PartOf(model, layers));
    plan.stages.push_back({.layers = layers});
  }
  parts.push_back({.bytes = static_cast<double>(model.head_bytes),
                   .parameters = static_cast<double>(model.head_parameters),
                   .held_bytes = model.head_bytes});
  plan.stages.push_back({});
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool is_head = i + 1 == parts.size();
    PlannedReplica& r = plan.stages[i];
    r.weight_bytes = parts[i].held_bytes;
    CATENA_ASSIGN_OR_RETURN(const int64_t free, KvBytes(o, parts[i]));
    if (!is_head) r.kv_bytes = free;
    const auto positions =
        is_head ? 0 : static_cast<int64_t>(static_cast<double>(free) / parts[i].kv_bytes);
    CATENA_RETURN_IF_ERROR(is_head ? absl::OkStatus() : CheckRoom(load, positions));
    plan.cluster.stages.push_back({.speed = SpeedOf(model, o, parts[i]),
                                   .kv_positions = positions,
                                   .max_rows = is_head ? o.head_rows : o.stage_rows});
  }
  plan.cluster.hop_s = o.hop_s;
  plan.cluster.hop_row_s = static_cast<double>(model.row_bytes) / o.link_bytes_per_s;
  SetReplicas(gpus, load, &plan);
  plan.forecast = ForecastOf(plan.cluster, load);
  return plan;
}

absl::StatusOr<std::vector<ClusterPlan>> PlanClusters(const ModelShape& model,
                                                      const PlanOptions& options, int gpus,
                                                      const ServingLoad& load) {
  std::vector<ClusterPlan> plans;
  absl::Status why = absl::FailedPreconditionError("a shard and a head want two --gpus");
  for (const int shards : kShards) {
    if (shards > model.n_layers || shards + 1 > gpus) break;
    absl::StatusOr<ClusterPlan> plan = PlanCluster(model, options, gpus, shards, load);
    if (plan.ok()) {
      plans.push_back(*std::move(plan));
    } else {
      why = plan.status();
    }
  }
  if (plans.empty()) return why;
  return plans;
}

const ClusterPlan& BestOf(const std::vector<ClusterPlan>& plans, const ServingLoad& load) {
  const auto carries = [&](const ClusterPlan& p) {
    return p.forecast && p.most_requests >= kSpare * load.requests_per_s;
  };
  const ClusterPlan* best = nullptr;
  for (const ClusterPlan& p : plans) {
    bool better = best == nullptr;
    if (!better && carries(p) != carries(*best)) {
      better = carries(p);
    } else if (!better && carries(p)) {
      better = p.forecast->token_s * kSameTrip < best->forecast->token_s;
    } else if (!better) {
      better = p.most_requests > best->most_requests;
    }
    if (better) best = &p;
  }
  return *best;
}

}  // namespace catena
