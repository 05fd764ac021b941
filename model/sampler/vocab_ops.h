// The passes of the sampler that touch every logit: one that finds the maximum and checks that all
// are finite, and one that makes softmax weights. Vectorised with run-time dispatch; every target
// gives the same bits (weights lane by lane as exact::Exp, sums in one fixed order).
//
// Thread rules: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace catena {

// Logits are looked at in groups of this many: by the groups' maxima, later passes skip what is too
// small to matter.
inline constexpr size_t kLogitGroup = 64;

struct LogitScan {
  bool finite = false;  // neither NaN nor infinite, all of them
  // Defined where no logit is NaN or +infinity:
  float max = 0;
  int32_t argmax = -1;           // the lowest id that has `max`
  std::vector<float> group_max;  // (ceil(n / kLogitGroup)); kept between scans for its memory
};

// REQUIRES: logits is not empty.
void ScanLogits(absl::Span<const float> logits, LogitScan* scan);

// weights[i] = e^((logits[i] - max) * inv_temperature); a logit of -infinity weighs 0.
// REQUIRES: max is finite and at least every logit.
void SoftmaxWeights(absl::Span<const float> logits, double max, double inv_temperature,
                    double* weights);

// Weights are summed in blocks of this many ids, and the blocks in order.
inline constexpr size_t kWeightBlock = 256;

// The weights of logits[block * kWeightBlock ...], at most kWeightBlock of them, to `weights` with
// zeros after the last; returns their sum.
double WeighBlock(absl::Span<const float> logits, size_t block, double max, double inv_temperature,
                  double* weights /* (kWeightBlock) */);

// The sum of all weights; with `blocks`, also each block's.
double TotalWeight(absl::Span<const float> logits, double max, double inv_temperature,
                   std::vector<double>* blocks = nullptr);

}  // namespace catena
