// How many prompt rows may ride in a batch beside running decodes: so many that a batch takes at
// most about as long again as the decodes alone, learnt from the batches that were run, and never
// fewer than a floor, so that no prompt starves.
//
// Of a replay they may be more: somebody stands still in the middle of a text, and one short stop
// of the others ends that sooner than many slow steps, in which rows cost more besides.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/chain/instant.h"

namespace catena {

class PrefillBudget {
 public:
  explicit PrefillBudget(int64_t max_rows) : max_rows_(max_rows) {}

  // Rows for the next batch; `decoding`: sequences that wait for their next token.
  int64_t Rows(int64_t decoding) const {
    if (decoding == 0) return max_rows_;
    if (decode_ns_ == 0 || row_ns_ == 0) return kFloorRows;
    return std::clamp<int64_t>(static_cast<int64_t>(kShare * decode_ns_ / row_ns_), kFloorRows,
                               max_rows_);
  }

  // The same of rows that were computed before.
  int64_t ReplayRows(int64_t decoding) const {
    const int64_t rows = Rows(decoding);
    if (row_ns_ == 0) return rows;
    const double short_stop = static_cast<double>(kShortStop.count()) / row_ns_;
    return std::max(rows, std::min(max_rows_, static_cast<int64_t>(short_stop)));
  }

  void Ran(int64_t decode_rows, int64_t prefill_rows, Nanoseconds time) {
    const auto ns = static_cast<double>(time.count());
    if (prefill_rows == 0) {
      Average(&decode_ns_, ns);
    } else if (decode_ns_ == 0 && decode_rows > 0 && prefill_rows <= kFloorRows) {
      // As long as prompts wait there is no batch of decodes alone, and so few rows more cost
      // little.
      decode_ns_ = ns;
    } else if (prefill_rows >= kFloorRows) {
      // What a batch takes at least, to read the weights, is no row's: decodes stand for it. Else a
      // few rows would seem dear, and for that reason never be more.
      const double own = std::max(ns - decode_ns_, ns / 4);
      Average(&row_ns_, own / static_cast<double>(prefill_rows));
    }
  }

 private:
  // A multiple of kernels' row tile, with which a few rows cost little more than one.
  static constexpr int64_t kFloorRows = 16;
  static constexpr double kShare = 1.0;  // prompt rows' time to decodes' time
  static constexpr Nanoseconds kShortStop = std::chrono::milliseconds(50);  // hardly seen

  static void Average(double* mean, double value) {
    *mean = *mean == 0 ? value : *mean + 0.2 * (value - *mean);
  }

  int64_t max_rows_;
  double decode_ns_ = 0;  // of a batch of decodes
  double row_ns_ = 0;     // of a prompt row
};

}  // namespace catena
