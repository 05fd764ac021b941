// The model's own log-probabilities: the log-softmax of one row of logits as they came, and the
// likeliest ids. What a sampled token reports and what scoring a text reads are the same digits,
// and on every machine (no libm).
//
// Thread rules: one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

#include "kernels/base/status.h"
#include "model/sampler/candidates.h"
#include "model/sampler/vocab_ops.h"

namespace catena {

struct TokenLogprob {
  int32_t id = -1;
  float logprob = 0;
};

// INTERNAL that names the first logit that is NaN or infinite: the model is broken. `position`: of
// the token that they are for. REQUIRES: there is one.
absl::Status NonFiniteError(absl::Span<const float> logits, int64_t position);

class LogSoftmax {
 public:
  // Of these logits from here on, which must outlive that. NonFiniteError. REQUIRES: not empty.
  absl::Status Take(absl::Span<const float> logits, int64_t position);

  // REQUIRES of these: Take was OK.
  double log_sum_exp() const { return scan_.max + log_total_; }
  // REQUIRES: an id of the vocabulary.
  double logprob(int32_t id) const { return (double{logits_[id]} - scan_.max) - log_total_; }
  // The n likeliest, likeliest first; of equal ones the lowest id.
  std::vector<TokenLogprob> Top(size_t n);

 private:
  absl::Span<const float> logits_;
  LogitScan scan_;
  double log_total_ = 0;  // log of the sum of e^(logit - max)
  Candidates candidates_;
};

}  // namespace catena
