#include "model/sampler/log_softmax.h"

#include <algorithm>

#include "model/sampler/exact_math.h"

namespace catena {

absl::Status NonFiniteError(absl::Span<const float> logits, int64_t position) {
  const auto bad = std::find_if(logits.begin(), logits.end(), [](float z) { return z - z != 0; });
  return absl::InternalError(
      fmt::format("the model produced non-finite logits: {} for the token id {} at position {}; "
                  "its weights are damaged",
                  *bad, bad - logits.begin(), position));
}

absl::Status LogSoftmax::Take(absl::Span<const float> logits, int64_t position) {
  logits_ = logits;
  ScanLogits(logits, &scan_);
  if (!scan_.finite) return NonFiniteError(logits, position);
  log_total_ = exact::Log(TotalWeight(logits, scan_.max, 1.0));
  return absl::OkStatus();
}

std::vector<TokenLogprob> LogSoftmax::Top(size_t n) {
  std::vector<TokenLogprob> top;
  if (n == 0) return top;
  candidates_.GatherTopK(logits_, scan_, std::min(n, logits_.size()));
  for (int32_t id : candidates_.ids()) top.push_back({id, static_cast<float>(logprob(id))});
  // Stable, by logit: ids are ascending, so the lowest of equals stays first.
  std::stable_sort(top.begin(), top.end(),
                   [&](const auto& a, const auto& b) { return logits_[a.id] > logits_[b.id]; });
  return top;
}

}  // namespace catena
