// Logits of every position of a text, in chunks: what `logits`, `perplexity` and `look` share.
#pragma once

#include <functional>

#include "runtime/engine.h"

namespace catena {

// Calls take(position, logits of the next token) for each position in order, and stops at the first
// error.
absl::Status ForEachPosition(
    absl::Span<const int32_t> ids, Engine* engine,
    const std::function<absl::Status(int64_t, absl::Span<const float>)>& take);

// log(sum(exp(logits))), in double; INTERNAL where a logit is not finite.
absl::StatusOr<double> LogSumExp(absl::Span<const float> logits);

// The n largest, largest first, ties: lowest id.
std::vector<int32_t> LargestIds(absl::Span<const float> logits, size_t n);

}  // namespace catena
