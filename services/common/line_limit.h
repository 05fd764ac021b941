// How many lines one kind of event may have in the log, whoever causes it: so many a period. How
// many were held back is said by the next that is not.
//
// Thread rules: any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

namespace catena {

class LineLimit {
 public:
  using Clock = std::chrono::steady_clock;

  LineLimit(int lines, Clock::duration period) : most_(lines), period_(period) {}

  // How many were held back since the last line; nullopt: so is this one.
  std::optional<int64_t> Take(Clock::time_point now = Clock::now()) {
    const std::lock_guard lock(mutex_);
    if (now >= next_period_) {
      next_period_ = now + period_;
      lines_ = 0;
    }
    if (lines_ == most_) {
      ++held_back_;
      return std::nullopt;
    }
    ++lines_;
    return std::exchange(held_back_, 0);
  }

 private:
  const int most_;
  const Clock::duration period_;
  std::mutex mutex_;  // of all below
  Clock::time_point next_period_{};
  int lines_ = 0;
  int64_t held_back_ = 0;
};

}  // namespace catena
