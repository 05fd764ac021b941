// How often a value fell where: counts between fixed bounds, as a monitoring system adds them up
// over processes and over time. It keeps no values, so its size is fixed.
//
// Thread rules: a plain value, one thread at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "absl/types/span.h"

#include "runtime/chain/instant.h"

namespace catena {

class Histogram {
 public:
  static constexpr size_t kMaxBounds = 24;

  // `bounds`: ascending, at most kMaxBounds, of static storage. Bucket i holds what is above
  // bounds[i - 1] and at most bounds[i]; one bucket more holds the rest.
  explicit Histogram(absl::Span<const double> bounds) : bounds_(bounds) {}

  void Add(double value) {
    const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
    ++counts_[static_cast<size_t>(at)];
    sum_ += value;
  }
  void Add(Nanoseconds time) { Add(ToSeconds(time)); }

  absl::Span<const double> bounds() const { return bounds_; }
  absl::Span<const int64_t> counts() const { return {counts_.data(), bounds_.size() + 1}; }
  double sum() const { return sum_; }

 private:
  absl::Span<const double> bounds_;
  std::array<int64_t, kMaxBounds + 1> counts_{};
  double sum_ = 0;
};

// From 10 µs, a hop on one machine, to 100 s, a long answer.
inline constexpr double kSecondsBounds[] = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3,
                                            5e-3, 1e-2, 2e-2, 5e-2, 0.1,  0.2,  0.5,  1,
                                            2,    5,    10,   20,   50,   100};
// Rows and sequences of a batch.
inline constexpr double kCountBounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};

}  // namespace catena
