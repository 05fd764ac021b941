// The cheapest chain of shards that tile [0, n_layers), with a head behind them: a shortest path
// over replicas, since not every replica reaches every other.
//
// Thread rules: a pure function.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "runtime/chain/replica_info.h"

namespace catena {

// Of what is on a route; none is negative.
struct RouteCosts {
  std::function<double(const ReplicaInfo&)> replica;
  // Nullopt: it cannot be reached.
  std::function<std::optional<double>(const ReplicaInfo& from, const ReplicaInfo& to)> edge;
};

// Shards in layer order, then the head; empty where there is no route.
// REQUIRES: `shards` are sorted by the layer they begin with.
std::vector<const ReplicaInfo*> CheapestRoute(const std::vector<const ReplicaInfo*>& shards,
                                              const std::vector<const ReplicaInfo*>& heads,
                                              int n_layers, const RouteCosts& costs);

}  // namespace catena
