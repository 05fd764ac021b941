// Which replicas there are and which chain of them a new sequence takes: any whose ranges tile
// [0, n_layers), then a head, all of one model and one arithmetic (DESIGN section 2).
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kernels/base/status.h"
#include "runtime/chain/replica_info.h"

namespace catena {

// Shards in layer order, then the head.
struct Route {
  std::vector<ReplicaInfo> stages;
  const ReplicaInfo& head() const { return stages.back(); }
  size_t shards() const { return stages.size() - 1; }
  // Null where it is not on the route.
  const ReplicaInfo* Find(Incarnation replica) const;
};
// "the shard of blocks [0, 16) at HOST:PORT"
std::string StageName(const ReplicaInfo& stage);

class Router {
 public:
  // All shards and heads that answer now; what is not among them is gone.
  void Update(std::vector<ReplicaInfo> replicas);
  // A link to a replica broke: it is not used again before the next Update has it.
  void Lost(Incarnation replica);

  // The least loaded complete route. UNAVAILABLE that names the missing blocks, FAILED_PRECONDITION
  // where they are there, but of another model or format.
  absl::StatusOr<Route> Choose() const;
  // OK where Choose finds a route.
  const absl::Status& complete() const { return complete_; }
  // Raised whenever something above may have changed.
  uint64_t version() const { return version_; }

  // What is served. REQUIRES: some replica was ever seen; otherwise all is empty.
  const ModelInfo& model() const { return model_; }
  // Why a replica is not used: "" where it is.
  std::string WhyRefused(Incarnation replica) const;
  const std::vector<ReplicaInfo>& replicas() const { return replicas_; }

  // This gateway's own sequences, by which load is known before a replica tells.
  void Took(const Route& route);
  void Released(const Route& route);

 private:
  // What all stages of a route share.
  struct Kind {
    std::string fingerprint, numerics_id;
    int64_t row_bytes = 0;
    friend auto operator<=>(const Kind&, const Kind&) = default;
  };
  static Kind KindOf(const ReplicaInfo& info);

  void ChooseKind();
  void DescribeModel();
  void Changed();
  absl::StatusOr<Route> ChooseOf(const Kind& kind) const;
  std::string Missing(const Kind& kind) const;
  std::vector<const ReplicaInfo*> Usable(const Kind& kind, Role role) const;
  double Cost(const ReplicaInfo& info) const;

  std::vector<ReplicaInfo> replicas_;
  std::set<Incarnation> lost_;
  std::map<Incarnation, int64_t> taken_;
  std::optional<Kind> kind_;
  ModelInfo model_;
  absl::Status complete_ = absl::UnavailableError("no replica has been found yet");
  uint64_t version_ = 0;
};

}  // namespace catena
