// What a replica says of itself (Describe): what it serves, by which a gateway decides whether and
// how to use it, and how it does, which is also the probe that it is alive.
//
// Thread rules: plain values.
#pragma once

#include <string>

#include "runtime/chain/messages.h"
#include "runtime/stage/layer_range.h"

namespace catena {

enum class Role { kGateway, kTokenizer, kShard, kHead };
std::string_view RoleName(Role role);  // "shard"

// Facts of the model that whoever talks with clients needs.
struct ModelInfo {
  std::string name;         // as clients ask for it
  std::string fingerprint;  // of config and weights: equal for all stages of a model
  int32_t n_layers = 0;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t context_length = 0;  // positions that this replica takes
  // Sequences of more positions use the second rotary factors, for all of them; 0: there is one.
  int64_t rotary_switch = 0;
  friend bool operator==(const ModelInfo&, const ModelInfo&) = default;
};

struct ReplicaLoad {
  int64_t sequences = 0;      // open
  int64_t queued_rows = 0;    // received, not computed
  int64_t kv_pages = 0;       // the pool's size
  int64_t kv_pages_used = 0;  // reserved
  int64_t kv_page_bytes = 0;
  int64_t journal_bytes = 0;
  int64_t batches = 0;         // finished since the start
  int64_t progress = 0;        // rows times blocks done since the start, also within a batch
  int64_t rows = 0;            // computed since the start
  int64_t oldest_step_ns = 0;  // how long the oldest queued or running step has waited; 0: none
  int64_t divergences = 0;     // duplicates with other bits: a broken machine or a bug
  int64_t corrupt = 0;         // rows with other bits than were sent, or kept
};

struct ReplicaInfo {
  Replica replica;
  Role role = Role::kShard;
  LayerRange layers;  // a shard's
  ModelInfo model;
  std::string numerics_id;  // backend, activations, KV dtype: what bits depend on
  int64_t row_bytes = 0;    // of a residual row on a hop
  std::string version;      // of the release
  std::string host;         // stages of one host share its cores
  int64_t pid = 0;
  std::string metrics;             // host:port of its metrics and health; "": it has none
  bool draining = false;           // takes no new sequences
  std::vector<Edge> broken_edges;  // other stages that it cannot reach
  ReplicaLoad load;
};

}  // namespace catena
