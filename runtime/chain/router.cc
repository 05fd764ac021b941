#include "runtime/chain/router.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "runtime/chain/cheapest_route.h"
#include "runtime/chain/error_facts.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/reached.h"

namespace catena {
namespace {

// What one more hop costs, in layers of one sequence: a tie goes to the shorter chain.
constexpr double kHopCost = 0.1;
// A replica whose KV cache is full is taken only where there is no other: a place where sequences
// fail is worse, for a while.
constexpr double kFullCost = 1e6;
static_assert(kFullCost < Penalties::kMost);
// Of a layer that holds nothing of a sequence that moves: more than any load, less than a full
// cache.
constexpr double kRebuildCost = 1e3;
// By so many sequences, for each layer that is computed again, a replica must be less loaded than
// another, before what runs moves there.
constexpr double kLeastGain = 1;
// Edges that a message names.
constexpr size_t kMaxNamedEdges = 3;

std::string Describe(const ReplicaInfo& r) {
  return fmt::format("model {} ({}), arithmetic {}", Quoted(r.model.name), r.model.fingerprint,
                     r.numerics_id);
}

Place PlaceOf(const ReplicaInfo& r) { return {r.replica.address, ""}; }
Place PlaceOf(const ReplicaInfo& from, const ReplicaInfo& to) {
  return {from.replica.address, to.replica.address};
}

bool Overlap(const LayerRange& a, const LayerRange& b) {
  return a.begin < b.end && b.begin < a.end;
}

// Whether it had no page left when it was last asked.
bool IsFull(const ReplicaInfo& r) {
  return r.role == Role::kShard && r.load.kv_pages_used >= r.load.kv_pages;
}

}  // namespace

std::vector<Incarnation> Route::Incarnations() const {
  std::vector<Incarnation> all;
  for (const ReplicaInfo& r : stages) all.push_back(r.replica.incarnation);
  return all;
}

const ReplicaInfo* Route::Find(Incarnation replica) const {
  for (const ReplicaInfo& stage : stages) {
    if (stage.replica.incarnation == replica) return &stage;
  }
  return nullptr;
}

std::string StageName(const ReplicaInfo& stage) {
  if (stage.role == Role::kHead) return fmt::format("the head at {}", stage.replica.address);
  return fmt::format("the shard of blocks [{}, {}) at {}", stage.layers.begin, stage.layers.end,
                     stage.replica.address);
}

absl::Status StageError(const ReplicaInfo& stage, ErrorReason reason, std::string_view what) {
  const std::string name = StageName(stage);
  const absl::Status status = absl::UnavailableError(fmt::format("{} {}", name, what));
  return WithStage(WithReason(status, reason), name);
}

// --- which replicas there are ---

Router::Kind Router::KindOf(const ReplicaInfo& info) {
  return {info.model.fingerprint, info.numerics_id, info.row_bytes};
}

void Router::Update(std::vector<ReplicaInfo> replicas) {
  // In layer order, so that one pass finds the routes.
  std::sort(replicas.begin(), replicas.end(), [](const ReplicaInfo& a, const ReplicaInfo& b) {
    return std::tuple(a.layers.begin, a.layers.end, a.replica.address) <
           std::tuple(b.layers.begin, b.layers.end, b.replica.address);
  });
  replicas_ = std::move(replicas);
  broken_.clear();
  for (const ReplicaInfo& r : replicas_) {
    for (const Edge& e : r.broken_edges) broken_[{r.replica.incarnation, e.to}] = e.why;
  }
  std::erase_if(unreachable_, [this](const auto& u) { return Find(u.first) == nullptr; });
  penalties_.Prune(now_);
  CountGateways();
  ChooseKind();
  Changed();
}

void Router::SetBrokenEdges(Incarnation from, std::vector<Edge> broken) {
  if (Find(from) == nullptr) return;
  std::erase_if(broken_, [from](const auto& edge) { return edge.first.first == from; });
  for (Edge& e : broken) broken_[{from, e.to}] = std::move(e.why);
  Changed();
}

void Router::Drains(Incarnation replica) {
  for (ReplicaInfo& r : replicas_) r.draining |= r.replica.incarnation == replica;
  Changed();
}

void Router::Disconnected(Incarnation replica, const absl::Status& why) {
  unreachable_[replica] = why;
  Changed();
}

void Router::Connected(Incarnation replica) {
  if (unreachable_.erase(replica) == 0) return;
  CATENA_REACHED(kLinkHeals);
  Changed();
}

std::vector<Replica> Router::Unreachable() const {
  std::vector<Replica> unreachable;
  for (const auto& [replica, why] : unreachable_) {
    if (const ReplicaInfo* r = Find(replica)) unreachable.push_back(r->replica);
  }
  return unreachable;
}

bool Router::HasBrokenEdge(const Route& route) const {
  if (broken_.empty()) return false;
  for (size_t i = 0; i + 1 < route.stages.size(); ++i) {
    const std::pair edge(route.stages[i].replica.incarnation,
                         route.stages[i + 1].replica.incarnation);
    if (broken_.contains(edge)) return true;
  }
  return false;
}

bool Router::HasDraining(const Route& route) const {
  return std::any_of(route.stages.begin(), route.stages.end(), [this](const ReplicaInfo& stage) {
    const ReplicaInfo* now = Find(stage.replica.incarnation);
    return now != nullptr && now->draining;
  });
}

void Router::Changed() {
  complete_ = Choose().status();
  ++version_;
}

// An edge that breaks for a while does not change what is served.
bool Router::Holds(const Kind& kind) const {
  return ChooseOf({.kind = kind, .mind_edges = false}).ok();
}

// What is in use stays in use while it is complete; then whatever is complete, then whatever has
// most replicas.
void Router::ChooseKind() {
  if (kind_ && Holds(*kind_)) return DescribeModel();
  std::map<Kind, int64_t> count;
  for (const ReplicaInfo& r : replicas_) ++count[KindOf(r)];
  const Kind* best = nullptr;
  auto rank = [&](const Kind& kind) { return std::pair(Holds(kind), count[kind]); };
  for (const auto& [kind, n] : count) {
    if (best == nullptr || rank(kind) > rank(*best)) best = &kind;
  }
  if (best == nullptr) return;  // what was served before is still what it is called
  kind_ = *best;
  DescribeModel();
}

// What every replica of the kind can do.
void Router::DescribeModel() {
  model_.context_length = limits::kMaxPositions;
  for (const ReplicaInfo& r : replicas_) {
    if (KindOf(r) != *kind_) continue;
    const int64_t context = std::min(model_.context_length, r.model.context_length);
    model_ = r.model;
    model_.context_length = context;
  }
}

const ReplicaInfo* Router::Find(Incarnation replica) const {
  const auto it = std::find_if(replicas_.begin(), replicas_.end(), [&](const ReplicaInfo& r) {
    return r.replica.incarnation == replica;
  });
  return it == replicas_.end() ? nullptr : &*it;
}

// --- routes ---

// Those that a route may take. One that goes through a replica goes through no other of its layers.
std::vector<const ReplicaInfo*> Router::Usable(const Wish& wish, Role role) const {
  const ReplicaInfo* through = wish.through ? Find(*wish.through) : nullptr;
  std::vector<const ReplicaInfo*> usable;
  for (const ReplicaInfo& r : replicas_) {
    if (r.role != role) continue;
    if (KindOf(r) != wish.kind) {
      CATENA_REACHED(kOtherModelIsPassedBy);
      continue;
    }
    const bool held = wish.before != nullptr && wish.before->Find(r.replica.incarnation) != nullptr;
    if (r.draining && !(held && wish.draining_too)) {
      CATENA_REACHED(kDrainingIsPassedBy);
      continue;
    }
    if (wish.mind_edges && unreachable_.contains(r.replica.incarnation)) {
      CATENA_REACHED(kUnreachableIsPassedBy);
      continue;
    }
    if (through != nullptr && through != &r && through->role == role &&
        (role == Role::kHead || Overlap(r.layers, through->layers))) {
      CATENA_REACHED(kRouteGoesThroughAnother);
      continue;
    }
    // Whoever is well where he is does not go where others fail, or find no place.
    if (wish.to_even && !held && (IsFull(r) || penalties_.Of(PlaceOf(r), now_) > 0)) continue;
    usable.push_back(&r);
  }
  return usable;
}

int64_t Router::OwnSequences(const ReplicaInfo& r) const {
  const auto it = own_sequences_.find(r.replica.incarnation);
  return it == own_sequences_.end() ? 0 : it->second;
}

// A replica has as many more sequences than this gateway has there as there are gateways like it.
void Router::CountGateways() {
  own_when_asked_ = own_sequences_;
  int64_t own = 0, all = 0;
  for (const ReplicaInfo& r : replicas_) {
    own += OwnSequences(r);
    all += r.load.sequences;
  }
  // One that has few sequences yet would take itself for one of very many.
  constexpr double kMostGateways = 64;
  const double like_this = own == 0 ? 1 : static_cast<double>(all) / static_cast<double>(own);
  gateways_ = std::clamp(like_this, 1.0, kMostGateways);
}

// How many a replica has now, as far as can be told: since it was asked, other gateways have sent
// there what we have. Else all would go where least was a second ago.
double Router::Sequences(const ReplicaInfo& r) const {
  const int64_t own = OwnSequences(r);
  const auto then = own_when_asked_.find(r.replica.incarnation);
  const int64_t since = own - (then == own_when_asked_.end() ? 0 : then->second);
  return std::max(static_cast<double>(own),
                  static_cast<double>(r.load.sequences) + gateways_ * static_cast<double>(since));
}

double Router::Cost(const Wish& wish, const ReplicaInfo& r) const {
  const int64_t own = OwnSequences(r);
  const bool held = wish.before != nullptr && wish.before->Find(r.replica.incarnation) != nullptr;
  const int layers = r.role == Role::kShard ? r.layers.size() : 1;
  if (wish.to_even) return kHopCost + static_cast<double>((own - (held ? 1 : 0)) * layers);
  const double penalty = penalties_.Of(PlaceOf(r), now_);
  if (penalty > 0) CATENA_REACHED(kFailedReplicaCosts);
  if (IsFull(r)) CATENA_REACHED(kFullCacheCosts);
  const bool fresh = wish.before != nullptr && !held;
  return kHopCost + Sequences(r) * layers + (IsFull(r) ? kFullCost : 0) + penalty +
         (fresh ? kRebuildCost * std::max(r.layers.size(), 1) : 0);
}

absl::StatusOr<Route> Router::ChooseOf(const Wish& wish) const {
  const std::vector<const ReplicaInfo*> shards = Usable(wish, Role::kShard);
  const std::vector<const ReplicaInfo*> heads = Usable(wish, Role::kHead);
  RouteCosts costs;
  costs.replica = [&](const ReplicaInfo& r) { return Cost(wish, r); };
  costs.edge = [&](const ReplicaInfo& from, const ReplicaInfo& to) -> std::optional<double> {
    const std::pair edge(from.replica.incarnation, to.replica.incarnation);
    if (wish.mind_edges && broken_.contains(edge)) {
      CATENA_REACHED(kBrokenEdgeIsPassedBy);
      return std::nullopt;
    }
    const double penalty = penalties_.empty() ? 0 : penalties_.Of(PlaceOf(from, to), now_);
    if (penalty > 0) CATENA_REACHED(kFailedEdgeCosts);
    return penalty;
  };
  const int n_layers = shards.empty() ? 0 : shards[0]->model.n_layers;
  Route route;
  for (const ReplicaInfo* r : CheapestRoute(shards, heads, n_layers, costs)) {
    route.stages.push_back(*r);
  }
  if (route.stages.empty()) {
    return WithReason(absl::UnavailableError(WhyNone(wish)), ErrorReason::kNoRoute);
  }
  return route;
}

std::string Router::WhyNone(const Wish& wish) const {
  Wish without_edges = wish;
  without_edges.mind_edges = false;
  if (wish.mind_edges && ChooseOf(without_edges).ok()) {
    CATENA_REACHED(kOnlyBrokenEdgesAreLeft);
    return BrokenEdges(wish.kind);
  }
  return Missing(without_edges);
}

std::string Router::Missing(const Wish& wish) const {
  const std::vector<const ReplicaInfo*> shards = Usable(wish, Role::kShard);
  std::string missing;
  int covered = 0;
  int n_layers = model_.n_layers;
  for (const ReplicaInfo* r : shards) {
    n_layers = r->model.n_layers;
    if (r->layers.begin > covered) {
      missing += fmt::format("{}[{}, {})", missing.empty() ? "" : ", ", covered, r->layers.begin);
    }
    covered = std::max(covered, r->layers.end);
  }
  if (covered < n_layers) {
    missing += fmt::format("{}[{}, {})", missing.empty() ? "" : ", ", covered, n_layers);
  }
  if (!missing.empty()) {
    CATENA_REACHED(kBlocksAreMissing);
    return fmt::format("no shard that can be reached holds blocks {}; start one", missing);
  }
  if (shards.empty()) return "no shard can be reached; start some";
  if (Usable(wish, Role::kHead).empty()) {
    CATENA_REACHED(kHeadIsMissing);
    return "no head can be reached; start one";
  }
  CATENA_REACHED(kCutsDoNotTile);
  return fmt::format(
      "no chain of the shards' ranges tiles [0, {}): start shards with matching cuts", n_layers);
}

// All is there, but what is there cannot reach each other.
std::string Router::BrokenEdges(const Kind& kind) const {
  std::vector<std::string> edges;
  for (const ReplicaInfo& r : replicas_) {
    if (KindOf(r) != kind || r.draining) continue;
    if (std::string broken = BrokenAt(r); !broken.empty()) edges.push_back(std::move(broken));
  }
  std::string named;
  for (size_t i = 0; i < std::min(edges.size(), kMaxNamedEdges); ++i) {
    named += (i == 0 ? "" : "; ") + edges[i];
  }
  if (edges.size() > kMaxNamedEdges) {
    named += fmt::format("; and {} more like these", edges.size() - kMaxNamedEdges);
  }
  return named + "; see to the network between them";
}

std::string Router::BrokenAt(const ReplicaInfo& replica) const {
  const auto own = unreachable_.find(replica.replica.incarnation);
  if (own != unreachable_.end()) {
    return fmt::format("the gateway cannot reach {} ({})", StageName(replica),
                       Message(own->second));
  }
  for (const auto& [edge, why] : broken_) {
    if (edge.first != replica.replica.incarnation) continue;
    const ReplicaInfo* to = Find(edge.second);
    if (to == nullptr) continue;  // it is gone: nobody needs it
    return fmt::format("{} cannot reach {} ({})", StageName(replica), StageName(*to), Message(why));
  }
  return "";
}

absl::StatusOr<Route> Router::Choose(std::optional<Incarnation> through) const {
  if (!kind_) {
    return WithReason(absl::UnavailableError("no shard and no head can be reached; start some"),
                      ErrorReason::kNoRoute);
  }
  if (through && Find(*through) == nullptr) {
    CATENA_REACHED(kReplicaOfTheWishIsGone);
    return absl::UnavailableError("the replica that the route should go through is gone");
  }
  absl::StatusOr<Route> route = ChooseOf({.kind = *kind_, .through = through});
  if (route.ok()) return route;
  for (const ReplicaInfo& r : replicas_) {
    if (KindOf(r) == *kind_) continue;
    CATENA_REACHED(kOtherModelIsNamed);
    return WithReason(absl::FailedPreconditionError(fmt::format("{}; {}", Message(route.status()),
                                                                WhyRefused(r.replica.incarnation))),
                      ErrorReason::kModelMismatch);
  }
  return route;
}

absl::StatusOr<Route> Router::ChooseLike(const ReplicaInfo& stage) const {
  return ChooseOf({.kind = KindOf(stage)});
}

absl::StatusOr<Route> Router::ChooseAgain(const Route& before, bool draining_too) const {
  return ChooseOf(
      {.kind = KindOf(before.stages[0]), .before = &before, .draining_too = draining_too});
}

// A sequence that leaves a replica makes room there for whatever it leaves: what counts is how many
// others each has.
std::optional<Route> Router::MoreEven(const Route& now) const {
  const Wish wish{.kind = KindOf(now.stages[0]), .before = &now, .to_even = true};
  absl::StatusOr<Route> best = ChooseOf(wish);
  if (!best.ok()) return std::nullopt;
  double gain = 0, moved_layers = 0;
  for (const ReplicaInfo& r : now.stages) gain += Cost(wish, r);
  for (const ReplicaInfo& r : best->stages) {
    gain -= Cost(wish, r);
    if (now.Find(r.replica.incarnation) == nullptr) moved_layers += std::max(r.layers.size(), 1);
  }
  constexpr double kRounding = 1e-6;
  if (moved_layers == 0 || gain < kLeastGain * moved_layers - kRounding) return std::nullopt;
  return *std::move(best);
}

std::string Router::WhyRefused(Incarnation replica) const {
  const ReplicaInfo* ours = nullptr;
  for (const ReplicaInfo& r : replicas_) {
    if (kind_ && KindOf(r) == *kind_) ours = &r;
  }
  const ReplicaInfo* other = Find(replica);
  if (other == nullptr || ours == nullptr || KindOf(*other) == KindOf(*ours)) return "";
  return fmt::format(
      "the {} at {} is of {}, and the cluster serves {}; start it with the same model and options",
      RoleName(other->role), other->replica.address, Describe(*other), Describe(*ours));
}

// --- load and failures ---

void Router::AddSequence(const Route& route) {
  for (const ReplicaInfo& r : route.stages) ++own_sequences_[r.replica.incarnation];
}

void Router::RemoveSequence(const Route& route) {
  for (const ReplicaInfo& r : route.stages) {
    auto it = own_sequences_.find(r.replica.incarnation);
    if (it != own_sequences_.end() && --it->second == 0) own_sequences_.erase(it);
  }
}

void Router::Failed(const ReplicaInfo& replica) { penalties_.Failed(PlaceOf(replica), now_); }

void Router::EdgeFailed(const ReplicaInfo& from, const ReplicaInfo& to) {
  penalties_.Failed(PlaceOf(from, to), now_);
}

void Router::Worked(const Route& route) {
  if (penalties_.empty()) return;
  for (size_t i = 0; i < route.stages.size(); ++i) {
    penalties_.Worked(PlaceOf(route.stages[i]));
    if (i > 0) penalties_.Worked(PlaceOf(route.stages[i - 1], route.stages[i]));
  }
}

}  // namespace catena
