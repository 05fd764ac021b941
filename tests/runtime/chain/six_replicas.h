// Six replicas of which there is more than one route, for tests of what is routed where.
//
// Thread rules: pure functions.
#pragma once

#include <vector>

#include <fmt/format.h>

#include "runtime/chain/replica_info.h"

namespace catena {

// Shards 1 and 2 hold blocks [0, 2), 3 and 4 blocks [2, 4), 5 and 6 are heads, in this order; N is
// at hostN:1. Those with odd numbers have less to do, so that no two routes cost the same.
inline std::vector<ReplicaInfo> SixReplicas() {
  std::vector<ReplicaInfo> replicas;
  for (const Incarnation i : {1, 2, 3, 4, 5, 6}) {
    ReplicaInfo& r = replicas.emplace_back();
    r.replica = {.address = fmt::format("host{}:1", i), .incarnation = i};
    r.role = i < 5 ? Role::kShard : Role::kHead;
    if (i < 5) r.layers = i < 3 ? LayerRange{0, 2} : LayerRange{2, 4};
    r.model.n_layers = 4;
    r.model.vocab_size = 10;
    r.model.context_length = 100;
    r.load.kv_pages = 1;
    r.load.sequences = i == 2 ? 3 : i % 2 == 0 ? 1 : 0;
  }
  return replicas;
}

}  // namespace catena
