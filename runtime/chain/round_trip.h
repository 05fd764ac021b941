// How long a sequence that decodes takes round the route, by which the first stage knows whom to
// wait for: sequences that set out together come back together, and stages which share a device
// should not run many small batches where one would do.
//
// The wait is short and has an end: no sequence is awaited for much longer than its trips usually
// take, and none waits longer.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <chrono>

#include "runtime/chain/instant.h"

namespace catena {

class RoundTrip {
 public:
  // It set out at `left` and is back.
  void Returned(Instant left, Instant now) {
    const bool is_first = trip_ == Nanoseconds(0);
    const Nanoseconds trip = std::min(now - left, is_first ? kMaxFirstTrip : kMaxGrowth * trip_);
    trip_ = is_first ? trip : trip_ + (trip - trip_) / 8;
  }

  // Until when it is awaited if it set out then, or waits for others if it is back since then.
  Instant AwaitedUntil(Instant since) const { return since + trip_ * 3 / 2; }

 private:
  // What one trip counts at most: some are long because something was lost.
  static constexpr Nanoseconds kMaxFirstTrip = std::chrono::milliseconds(500);
  static constexpr int kMaxGrowth = 4;
  Nanoseconds trip_{0};  // smoothed
};

}  // namespace catena
