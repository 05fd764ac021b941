// Logits of every position of a text, in chunks: what `logits`, `perplexity` and `look` share.
#pragma once

#include <functional>

#include "runtime/local/engine.h"

namespace catena {

// Calls take(position, logits of the next token) for each position in order, and stops at the first
// error.
absl::Status ForEachPosition(
    absl::Span<const int32_t> ids, Engine* engine,
    const std::function<absl::Status(int64_t, absl::Span<const float>)>& take);

}  // namespace catena
