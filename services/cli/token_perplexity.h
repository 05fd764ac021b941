// How well a model foretells a text: what `perplexity` and `quantise --perplexity` share.
//
// Thread rules: one thread.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

#include "kernels/base/status.h"
#include "runtime/local/engine.h"

namespace catena::cli {

// exp of the mean negative log-likelihood of all ids but the first of each window of `window` ids,
// by the ids before them in it. Shows a progress bar. REQUIRES: two ids or more, each below the
// vocabulary's size; 2 <= window, at most the engine's positions.
absl::StatusOr<double> TokenPerplexity(absl::Span<const int32_t> ids, size_t window,
                                       Engine* engine);

}  // namespace catena::cli
