// What a cluster of stages with replicas will do under a load, by arithmetic: latencies, what it
// can carry at most, what a lost replica costs. bench/sim holds it against the cores themselves, in
// simulated time; docs/CAPACITY.md says how far the two agree.
//
// The arithmetic: each token is one trip through all stages. The sequences of a first shard are
// dealt into as many groups as the route has shards (runtime/chain/batch_planner.h), so a batch has
// the decodes of one group; beside them prompts run, whose rows that come during one batch run
// together. A trip takes what its batches take and the waits for those of others, and no less than
// the busiest stage needs for all groups.
//
// Thread rules: pure functions and plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/capacity/stage_speed.h"

namespace catena {

struct ServingStage {
  StageSpeed speed;
  int replicas = 1;
  int64_t kv_positions = 0;  // of all sequences of a replica; 0: it has no cache (a head)
  int64_t max_rows = 512;    // of a batch
};

// Shards in their order, the head last.
struct ServingCluster {
  std::vector<ServingStage> stages;
  double hop_s = 0;      // one way between two processes
  double hop_row_s = 0;  // for each row that is carried besides
  size_t shards() const { return stages.size() - 1; }
};

struct ServingLoad {
  double requests_per_s = 0;
  int64_t input_tokens = 0, output_tokens = 0;  // of each, both positive
};

struct StageForecast {
  double decode_rows = 0;  // of a batch of decodes
  double batch_s = 0;      // that it takes
  double busy = 0;         // share of the time that a replica computes
  double kv_share = 0;     // of the KV cache that is in use, mean; 0 at a head
};

struct Forecast {
  double first_token_s = 0, first_token_p99_s = 0;
  double token_s = 0, token_p99_s = 0;  // from one token to the next
  double tokens_per_s = 0;
  double sequences = 0;  // that run at a time
  std::vector<StageForecast> stages;
};

// What bounds a cluster: what gives way first as its load grows.
enum class Bound {
  kTrips,    // shards: tokens would take longer and longer
  kPrompts,  // shards: prompts come faster than they are read
  kRows,     // of a batch (--batch)
  kKvCache,  // what runs does not fit
  kHeads,    // tokens come faster than they are sampled
};
// "the KV caches"
std::string_view NameOf(Bound bound);

// Nullopt where the cluster cannot carry the load; `bound` then says why.
std::optional<Forecast> ForecastOf(const ServingCluster& cluster, const ServingLoad& load,
                                   Bound* bound = nullptr);

// The most requests a second of these lengths that it can carry; 0 where none fits.
// `bound`: what does not let it carry more.
double MostRequests(const ServingCluster& cluster, const ServingLoad& load, Bound* bound = nullptr);

struct LossForecast {
  double sequences = 0;                       // that move
  double replayed_rows = 0;                   // that other replicas compute again
  double pause_mean_s = 0, pause_most_s = 0;  // of what moves
  double most_requests = 0;                   // a second, from then on
};
// `lost` replicas of a stage die at once and do not come back. Nullopt where none of them is left:
// everything waits for another. REQUIRES: ForecastOf has a value.
std::optional<LossForecast> ForecastLoss(const ServingCluster& cluster, const ServingLoad& load,
                                         size_t stage, int lost);

}  // namespace catena
