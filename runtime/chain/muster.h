// When the first stage starts a batch of decodes: sequences that decode go round the route, and
// those that set out together come back together. So that stages which share a device do not run
// many small batches where one would do, those that are back wait for those that soon will be.
//
// The wait is short and has an end: no sequence is awaited for longer than a trip round the route
// usually takes, and none waits longer.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "runtime/chain/instant.h"

namespace catena {

class Muster {
 public:
  // A sequence that set out at `left` is back.
  void CameBack(Instant left, Instant now) {
    const bool is_first = trip_ == Nanoseconds(0);
    const Nanoseconds trip = std::min(now - left, is_first ? kMaxFirstTrip : kMaxGrowth * trip_);
    trip_ = is_first ? trip : trip_ + (trip - trip_) / 8;
  }

  // Until when one that set out at `left`, or that has waited since then, counts.
  Instant Until(Instant left) const { return left + trip_ * 3 / 2; }

 private:
  // What one trip counts at most: some are long because something was lost.
  static constexpr Nanoseconds kMaxFirstTrip = std::chrono::milliseconds(500);
  static constexpr int kMaxGrowth = 4;
  Nanoseconds trip_{0};  // round the route, smoothed
};

}  // namespace catena
