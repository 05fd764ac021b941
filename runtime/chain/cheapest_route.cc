#include "runtime/chain/cheapest_route.h"

#include <algorithm>
#include <limits>

namespace catena {
namespace {

// The cheapest way to a replica, and through it.
struct Reached {
  const ReplicaInfo* replica = nullptr;
  const Reached* before = nullptr;
  double cost = std::numeric_limits<double>::infinity();
};

class Search {
 public:
  Search(size_t n_shards, int n_layers, const RouteCosts& costs)
      : costs_(costs), ends_at_(static_cast<size_t>(n_layers) + 1) {
    reached_.reserve(n_shards);  // so that pointers into it stay
  }

  // REQUIRES: shards that begin earlier were added.
  void AddShard(const ReplicaInfo& shard) {
    const auto [begin, end] = shard.layers;
    const int n_layers = static_cast<int>(ends_at_.size()) - 1;
    if (begin < 0 || end <= begin || end > n_layers) return;
    const Reached r = Reach(shard, begin);
    if (r.cost == std::numeric_limits<double>::infinity()) return;
    reached_.push_back(r);
    // Cheapest first, so that most of them need not be looked at.
    std::vector<const Reached*>& others = ends_at_[static_cast<size_t>(end)];
    others.insert(std::upper_bound(others.begin(), others.end(), r.cost,
                                   [](double cost, const Reached* o) { return cost < o->cost; }),
                  &reached_.back());
  }

  // The cheapest way to a replica behind `boundary`.
  Reached Reach(const ReplicaInfo& replica, int boundary) const {
    const double own = costs_.replica(replica);
    if (boundary == 0) return {.replica = &replica, .before = nullptr, .cost = own};
    Reached best{.replica = &replica};
    for (const Reached* before : ends_at_[static_cast<size_t>(boundary)]) {
      if (before->cost + own >= best.cost) break;
      const std::optional<double> edge = costs_.edge(*before->replica, replica);
      if (!edge || before->cost + *edge + own >= best.cost) continue;
      best.before = before;
      best.cost = before->cost + *edge + own;
    }
    return best;
  }

 private:
  const RouteCosts& costs_;
  std::vector<Reached> reached_;
  std::vector<std::vector<const Reached*>> ends_at_;  // by the layer after its last
};

}  // namespace

std::vector<const ReplicaInfo*> CheapestRoute(const std::vector<const ReplicaInfo*>& shards,
                                              const std::vector<const ReplicaInfo*>& heads,
                                              int n_layers, const RouteCosts& costs) {
  if (n_layers <= 0) return {};
  Search search(shards.size(), n_layers, costs);
  for (const ReplicaInfo* shard : shards) search.AddShard(*shard);
  Reached best;
  for (const ReplicaInfo* head : heads) {
    const Reached r = search.Reach(*head, n_layers);
    if (r.before != nullptr && r.cost < best.cost) best = r;
  }
  std::vector<const ReplicaInfo*> route;
  if (best.replica == nullptr) return route;
  route.push_back(best.replica);
  for (const Reached* at = best.before; at != nullptr; at = at->before) {
    route.push_back(at->replica);
  }
  std::reverse(route.begin(), route.end());
  return route;
}

}  // namespace catena
