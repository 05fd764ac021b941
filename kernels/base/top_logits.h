// The largest logits of a row: what most samplers need of it, and all that leaves a device then.
//
// Thread rules: pure functions.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace catena {

inline constexpr int kTopLogits = 64;

// As it lies in memory, on the device too.
struct TopLogits {
  int32_t finite = 0;             // 1: neither NaN nor infinite, all of the row; else all is 0
  int32_t count = 0;              // the least of kTopLogits and the row's length
  int32_t ids[kTopLogits] = {};   // of the largest, largest first; of equal ones the lowest id
  float logits[kTopLogits] = {};  // theirs
};
inline constexpr int kTopLogitsWords = sizeof(TopLogits) / sizeof(float);

TopLogits TopLogitsOf(absl::Span<const float> logits);

}  // namespace catena
