// How many rows a batch may have so that it takes no longer than a given time, by how long the
// batches before it took. It begins with one row, grows as long as batches are quick, and shrinks
// at once when one was slow: a backend that takes seconds for a row gets one at a time, and whoever
// watches a stage sees it move.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/chain/instant.h"

namespace catena {

class BatchLimit {
 public:
  BatchLimit(int64_t max_rows, Nanoseconds longest) : max_rows_(max_rows), longest_(longest) {}

  int64_t rows() const { return rows_; }

  void Ran(int64_t rows, Nanoseconds time) {
    if (rows <= 0) return;
    const double ns = std::max<double>(static_cast<double>(time.count()), 1);
    const double fit = static_cast<double>(rows) * static_cast<double>(longest_.count()) / ns;
    // Small batches say little of large ones, which cost less a row.
    const bool was_full = rows * 2 >= rows_;
    if (time <= longest_ && !was_full) return;
    const auto most = static_cast<double>(std::min(max_rows_, kGrowth * rows_));
    rows_ = static_cast<int64_t>(std::clamp(fit, 1.0, std::max(1.0, most)));
  }

 private:
  static constexpr int64_t kGrowth = 8;  // from one row to 512 in three batches
  int64_t max_rows_;
  Nanoseconds longest_;
  int64_t rows_ = 1;
};

}  // namespace catena
