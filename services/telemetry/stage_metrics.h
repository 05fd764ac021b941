// A shard's and a head's counters as metrics, and whether its work stands still.
//
// Thread rules: one thread at a time, that of the operators' port.
#pragma once

#include <deque>
#include <functional>

#include "runtime/chain/replica_info.h"
#include "runtime/chain/stage_counters.h"
#include "services/telemetry/exposition.h"

namespace catena {

// What one look at a stage gives.
struct StageSnapshot {
  ReplicaLoad load;
  StageCounters counters;
  int64_t broken_edges = 0;
};

class StageMetrics {
 public:
  // `look` is called from the operators' port's thread and must not wait.
  explicit StageMetrics(std::function<StageSnapshot()> look) : look_(std::move(look)) {}

  void Collect(Exposition& page) { CollectAt(page, std::chrono::steady_clock::now()); }
  void CollectAt(Exposition& page, Instant now);

 private:
  // Share of the time with open sequences in which nothing ran, over the last minute or so.
  double BubbleRatio(const BusyClock& clock, Instant now);

  struct Sample {
    Instant at;
    Nanoseconds busy, idle;
  };
  const std::function<StageSnapshot()> look_;
  std::deque<Sample> samples_;
};

// A process whose oldest step has waited for `limit` in which nothing was done only helps by being
// restarted.
class StallCheck {
 public:
  StallCheck(std::function<ReplicaLoad()> look, Nanoseconds limit)
      : look_(std::move(look)), limit_(limit) {}

  // UNAVAILABLE that says for how long it stands still.
  absl::Status operator()() { return At(std::chrono::steady_clock::now()); }
  absl::Status At(Instant now);

 private:
  const std::function<ReplicaLoad()> look_;
  const Nanoseconds limit_;
  int64_t progress_ = -1;  // at the last look
  Instant changed_{};      // when it was last seen to have changed
};

}  // namespace catena
