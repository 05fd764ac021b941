// A plan's stages as Kubernetes workloads: what `catena plan --format kustomize` writes, and what
// k8s/ holds as stages.yaml.
//
// A stage is a Deployment with a headless Service: its replicas hold nothing that cannot be made
// again, so none needs a name of its own; and as stages find each other by name, they start in any
// order and need no gang scheduling.
//
// Thread rules: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace catena::cli {

struct PlannedStage {
  std::string layers;         // "0-15"; "" of the head
  int64_t weight_bytes = 0;   // that it holds
  int64_t journal_bytes = 0;  // a shard's
};

struct WorkloadOptions {
  std::string model_path;  // where pods find the model
  int replicas = 1;        // of each stage
  int threads = 2;         // that compute, each with a core asked for
  int gpus = 0;            // of each stage
  std::string kv_memory;   // of --kv-memory, "2GiB"
  int64_t kv_bytes = 0;    // the same
};

// Of each stage a Deployment, a Service, a PodDisruptionBudget and a NetworkPolicy, as documents of
// one YAML stream. `stages`: shards in their order, the head behind them. `command`: how to write
// them again, said in the first line.
std::string StageManifests(const std::vector<PlannedStage>& stages, const WorkloadOptions& options,
                           const std::string& command);

}  // namespace catena::cli
