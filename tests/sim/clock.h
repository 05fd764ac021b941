// Simulated time: a queue of events in the order of their instants, those of one instant in the
// order in which they were made. A day of it takes as long as what happens in it.
//
// Thread rules: one thread.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "runtime/chain/instant.h"

namespace catena::sim {

class Clock {
 public:
  Instant now() const { return now_; }

  void At(Instant at, std::function<void()> run) {
    events_.push_back({std::max(at, now_), order_++, std::move(run)});
    std::push_heap(events_.begin(), events_.end(), Later);
  }
  void After(Nanoseconds delay, std::function<void()> run) { At(now_ + delay, std::move(run)); }

  // Runs the next event. False where there is none up to `end`; it is then `end`.
  bool RunNext(Instant end) {
    if (events_.empty() || events_.front().at > end) {
      now_ = std::max(now_, end);
      return false;
    }
    std::pop_heap(events_.begin(), events_.end(), Later);
    const Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.at;
    event.run();
    return true;
  }

 private:
  struct Event {
    Instant at;
    uint64_t order;
    std::function<void()> run;
  };
  static bool Later(const Event& a, const Event& b) {
    return std::pair(a.at, a.order) > std::pair(b.at, b.order);
  }

  Instant now_{std::chrono::hours(1)};
  uint64_t order_ = 0;
  std::vector<Event> events_;  // a heap, the next one in front
};

}  // namespace catena::sim
