#include "services/cli/token_perplexity.h"

#include <cmath>

#include "model/sampler/log_softmax.h"
#include "runtime/local/score.h"
#include "services/cli/progress.h"

namespace catena::cli {

absl::StatusOr<double> TokenPerplexity(absl::Span<const int32_t> ids, size_t window,
                                       Engine* engine) {
  double negative_log_likelihood = 0;
  int64_t scored = 0;
  LogSoftmax softmax;
  ProgressBar bar("Reading");
  for (size_t at = 0; at + 1 < ids.size(); at += window) {
    const absl::Span<const int32_t> part = ids.subspan(at, window);
    const auto tokens = static_cast<int64_t>(part.size());
    CATENA_RETURN_IF_ERROR(ForEachPosition(
        part, engine, [&](int64_t position, absl::Span<const float> logits) -> absl::Status {
          bar.Show(static_cast<double>(static_cast<int64_t>(at) + position) /
                   static_cast<double>(ids.size()));
          if (position + 1 == tokens) return absl::OkStatus();
          CATENA_RETURN_IF_ERROR(softmax.Take(logits, position + 1));
          negative_log_likelihood -= softmax.logprob(part[position + 1]);
          ++scored;
          return absl::OkStatus();
        }));
  }
  return std::exp(negative_log_likelihood / static_cast<double>(scored));
}

}  // namespace catena::cli
