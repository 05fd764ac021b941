// Where a sampler finds the logits of a batch's rows: all of a row, and where that is far away
// first its largest, which most often do.
//
// Thread rules: one thread at a time.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

#include "kernels/base/top_logits.h"

namespace catena {

class LogitSource {
 public:
  virtual ~LogitSource() = default;
  // Null where the whole row is at hand.
  virtual const TopLogits* Top(int64_t row) = 0;
  virtual absl::Span<const float> All(int64_t row) = 0;  // (vocab), until the next call of it
};

// Rows that lie in host memory, one after the other.
class LogitsAtHand final : public LogitSource {
 public:
  LogitsAtHand(const float* logits, int64_t vocab) : logits_(logits), vocab_(vocab) {}
  const TopLogits* Top(int64_t) override { return nullptr; }
  absl::Span<const float> All(int64_t row) override {
    return {logits_ + row * vocab_, static_cast<size_t>(vocab_)};
  }

 private:
  const float* logits_;
  int64_t vocab_;
};

}  // namespace catena
