#include "runtime/chain/router.h"

#include <algorithm>
#include <limits>

#include "runtime/chain/limits.h"

namespace catena {
namespace {

// What one more hop costs, in layers of one sequence: a tie goes to the shorter chain.
constexpr double kHopCost = 0.1;
// A replica whose KV cache is full is taken only where there is no other.
constexpr double kFullCost = 1e6;

std::string Describe(const ReplicaInfo& r) {
  return fmt::format("model {} ({}), arithmetic {}", Quoted(r.model.name), r.model.fingerprint,
                     r.numerics_id);
}

}  // namespace

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
  lost_.clear();
  ChooseKind();
  Changed();
}

void Router::Lost(Incarnation replica) {
  lost_.insert(replica);
  Changed();
}

void Router::Changed() {
  complete_ = Choose().status();
  ++version_;
}

// What is in use stays in use while it is complete; then whatever is complete, then whatever has
// most replicas.
void Router::ChooseKind() {
  if (kind_ && ChooseOf(*kind_).ok()) return DescribeModel();
  std::map<Kind, int64_t> count;
  for (const ReplicaInfo& r : replicas_) ++count[KindOf(r)];
  const Kind* best = nullptr;
  auto rank = [&](const Kind& kind) { return std::pair(ChooseOf(kind).ok(), count[kind]); };
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

std::vector<const ReplicaInfo*> Router::Usable(const Kind& kind, Role role) const {
  std::vector<const ReplicaInfo*> usable;
  for (const ReplicaInfo& r : replicas_) {
    const bool ours = r.role == role && KindOf(r) == kind;
    if (ours && !r.draining && !lost_.contains(r.replica.incarnation)) usable.push_back(&r);
  }
  return usable;
}

double Router::Cost(const ReplicaInfo& r) const {
  const auto it = taken_.find(r.replica.incarnation);
  const int64_t own = it == taken_.end() ? 0 : it->second;
  const auto sequences = static_cast<double>(std::max(own, r.load.sequences));
  const bool full = r.role == Role::kShard && r.load.kv_pages_used >= r.load.kv_pages;
  const int layers = r.role == Role::kShard ? r.layers.size() : 1;
  return kHopCost + sequences * layers + (full ? kFullCost : 0);
}

absl::StatusOr<Route> Router::ChooseOf(const Kind& kind) const {
  const std::vector<const ReplicaInfo*> shards = Usable(kind, Role::kShard);
  const std::vector<const ReplicaInfo*> heads = Usable(kind, Role::kHead);
  if (shards.empty() || heads.empty()) return absl::UnavailableError(Missing(kind));
  // The cheapest chain that ends at each boundary, and its last shard.
  struct Best {
    double cost = std::numeric_limits<double>::infinity();
    const ReplicaInfo* last = nullptr;
  };
  const int n_layers = shards[0]->model.n_layers;
  std::vector<Best> best(static_cast<size_t>(n_layers) + 1);
  best[0].cost = 0;
  for (const ReplicaInfo* r : shards) {
    const auto [begin, end] = r->layers;
    if (begin < 0 || end <= begin || end > n_layers) continue;
    const double cost = best[begin].cost + Cost(*r);
    if (cost < best[end].cost) best[end] = {cost, r};
  }
  if (best[n_layers].last == nullptr) return absl::UnavailableError(Missing(kind));
  Route route;
  for (int at = n_layers; at > 0; at = best[at].last->layers.begin) {
    route.stages.insert(route.stages.begin(), *best[at].last);
  }
  route.stages.push_back(**std::min_element(heads.begin(), heads.end(),
                                            [&](auto* a, auto* b) { return Cost(*a) < Cost(*b); }));
  return route;
}

std::string Router::Missing(const Kind& kind) const {
  const std::vector<const ReplicaInfo*> shards = Usable(kind, Role::kShard);
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
    return fmt::format("no shard that can be reached holds blocks {}; start one", missing);
  }
  if (shards.empty()) return "no shard can be reached; start some";
  if (Usable(kind, Role::kHead).empty()) return "no head can be reached; start one";
  return fmt::format(
      "no chain of the shards' ranges tiles [0, {}): start shards with matching cuts", n_layers);
}

absl::StatusOr<Route> Router::Choose() const {
  if (!kind_) return absl::UnavailableError("no shard and no head can be reached; start some");
  absl::StatusOr<Route> route = ChooseOf(*kind_);
  if (route.ok()) return route;
  for (const ReplicaInfo& r : replicas_) {
    if (KindOf(r) == *kind_) continue;
    return absl::FailedPreconditionError(
        fmt::format("{}; {}", Message(route.status()), WhyRefused(r.replica.incarnation)));
  }
  return route;
}

std::string Router::WhyRefused(Incarnation replica) const {
  const ReplicaInfo* other = nullptr;
  const ReplicaInfo* ours = nullptr;
  for (const ReplicaInfo& r : replicas_) {
    if (kind_ && KindOf(r) == *kind_) ours = &r;
    if (r.replica.incarnation == replica) other = &r;
  }
  if (other == nullptr || ours == nullptr || KindOf(*other) == KindOf(*ours)) return "";
  return fmt::format(
      "the {} at {} is of {}, and the cluster serves {}; start it with the same model and options",
      RoleName(other->role), other->replica.address, Describe(*other), Describe(*ours));
}

void Router::Took(const Route& route) {
  for (const ReplicaInfo& r : route.stages) ++taken_[r.replica.incarnation];
}

void Router::Released(const Route& route) {
  for (const ReplicaInfo& r : route.stages) {
    auto it = taken_.find(r.replica.incarnation);
    if (it != taken_.end() && --it->second == 0) taken_.erase(it);
  }
}

}  // namespace catena
