// Which replicas there are and which chain of them a new sequence takes: any whose ranges tile
// [0, n_layers), then a head, all of one model and one arithmetic (DESIGN section 2), each of which
// can reach the next.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/status.h"
#include "runtime/chain/error_facts.h"
#include "runtime/chain/instant.h"
#include "runtime/chain/penalties.h"
#include "runtime/chain/replica_info.h"

namespace catena {

// Shards in layer order, then the head.
struct Route {
  std::vector<ReplicaInfo> stages;
  const ReplicaInfo& head() const { return stages.back(); }
  size_t shards() const { return stages.size() - 1; }
  // Null where it is not on the route.
  const ReplicaInfo* Find(Incarnation replica) const;
  std::vector<Incarnation> Incarnations() const;
};
// "the shard of blocks [0, 16) at HOST:PORT"
std::string StageName(const ReplicaInfo& stage);
// UNAVAILABLE, for want of a stage; `what` follows its name.
absl::Status StageError(const ReplicaInfo& stage, ErrorReason reason, std::string_view what);

class Router {
 public:
  // All shards and heads that answer now, and which others each of them cannot reach; what is not
  // among them is gone.
  void Update(std::vector<ReplicaInfo> replicas);
  // The same of one, as soon as it changes: all that it cannot reach.
  void SetBrokenEdges(Incarnation from, std::vector<Edge> broken);
  // It takes no new sequences, which it had not said yet when it was last asked.
  void Drains(Incarnation replica);
  // Our own link to a replica broke, or is up.
  void Disconnected(Incarnation replica, const absl::Status& why);
  void Connected(Incarnation replica);
  // Replicas to which our own link is broken.
  std::vector<Replica> Unreachable() const;
  bool HasBrokenEdge(const Route& route) const;
  bool HasDraining(const Route& route) const;

  // The cheapest complete route, or the cheapest that goes through `through`. UNAVAILABLE that
  // names the missing blocks, or the edges that are broken; FAILED_PRECONDITION where all is there,
  // but of another model or format.
  absl::StatusOr<Route> Choose(std::optional<Incarnation> through = {}) const;
  // Of the model and arithmetic of `stage`, whatever is served now: for a sequence that began
  // there.
  absl::StatusOr<Route> ChooseLike(const ReplicaInfo& stage) const;
  // For a sequence that is on `before` and cannot stay there: what it holds on replicas of that
  // route that are well weighs more than any load. Of the same model and arithmetic. Those of
  // `before` that drain do only where `draining_too`.
  absl::StatusOr<Route> ChooseAgain(const Route& before, bool draining_too) const;
  // For a sequence of this gateway's that is on `now`: a route on which it is beside fewer others,
  // by so many that it is worth a Move; nullopt where there is none.
  std::optional<Route> MoreEven(const Route& now) const;
  // OK where Choose finds a route.
  const absl::Status& complete() const { return complete_; }
  // Raised whenever something above may have changed.
  uint64_t version() const { return version_; }

  // What is served. REQUIRES: some replica was ever seen; otherwise all is empty.
  const ModelInfo& model() const { return model_; }
  std::string numerics_id() const { return kind_ ? kind_->numerics_id : ""; }
  // Why a replica is not used: "" where it is.
  std::string WhyRefused(Incarnation replica) const;
  // Which others a replica cannot reach, or that we cannot reach it: "" where all is well.
  std::string BrokenAt(const ReplicaInfo& replica) const;
  const std::vector<ReplicaInfo>& replicas() const { return replicas_; }

  // This gateway's own sequences, by which load is known before a replica tells.
  void AddSequence(const Route& route);
  void RemoveSequence(const Route& route);
  // A sequence failed at a replica, or on its edge to another: others pass by for a while. One got
  // through: they need not.
  void Failed(const ReplicaInfo& replica);
  void EdgeFailed(const ReplicaInfo& from, const ReplicaInfo& to);
  void Worked(const Route& route);
  // Failures fade as time passes.
  void Pass(Instant now) { now_ = now; }

 private:
  // What all stages of a route share.
  struct Kind {
    std::string fingerprint, numerics_id;
    int64_t row_bytes = 0;
    friend auto operator<=>(const Kind&, const Kind&) = default;
  };
  static Kind KindOf(const ReplicaInfo& info);

  // What a route is to be like.
  struct Wish {
    Kind kind;
    std::optional<Incarnation> through = {};
    bool mind_edges = true;
    const Route* before = nullptr;
    bool draining_too = false;
    bool to_even = false;  // only this gateway's own sequences count, without the one that moves
  };

  bool Holds(const Kind& kind) const;
  void ChooseKind();
  void DescribeModel();
  void Changed();
  absl::StatusOr<Route> ChooseOf(const Wish& wish) const;
  std::string WhyNone(const Wish& wish) const;
  std::string Missing(const Wish& wish) const;
  std::string BrokenEdges(const Kind& kind) const;
  std::vector<const ReplicaInfo*> Usable(const Wish& wish, Role role) const;
  const ReplicaInfo* Find(Incarnation replica) const;
  int64_t OwnSequences(const ReplicaInfo& replica) const;
  double Sequences(const ReplicaInfo& replica) const;
  void CountGateways();
  double Cost(const Wish& wish, const ReplicaInfo& replica) const;

  std::vector<ReplicaInfo> replicas_;
  std::map<std::pair<Incarnation, Incarnation>, absl::Status> broken_;  // edges: from, to
  std::map<Incarnation, absl::Status> unreachable_;                     // from here
  std::map<Incarnation, int64_t> own_sequences_;                        // that pass each replica
  std::map<Incarnation, int64_t> own_when_asked_;  // the same, when replicas said their load
  double gateways_ = 1;                            // that use them, as their load tells
  Penalties penalties_;
  Instant now_{};
  std::optional<Kind> kind_;
  ModelInfo model_;
  absl::Status complete_ = absl::UnavailableError("no replica has been found yet");
  uint64_t version_ = 0;
};

}  // namespace catena
