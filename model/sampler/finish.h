// Why a sequence ended, when, and how long it can get. Stop strings are the matter of
// stop_matcher.h: a match ends the sequence with kStop too.
//
// Thread rules: pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "model/sampler/params.h"

namespace catena {

// A sequence that fails ends with an error instead and has no finish reason.
enum class FinishReason { kStop, kLength };

// As OpenAI's finish_reason spells it.
inline std::string_view FinishReasonName(FinishReason reason) {
  return reason == FinishReason::kStop ? "stop" : "length";
}

// Whether `id` ends a sequence: one of the request's stop ids, or of the model's unless ignored.
inline bool IsStopId(const SamplingParams& params, int32_t id) {
  auto has = [id](const std::vector<int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  return has(params.stop_token_ids) || (!params.ignore_eos && has(params.eos_token_ids));
}

// The reason to end after `last_id`, the n_output-th token of the output; nullopt: go on. A stop id
// as the last token allowed is a stop.
inline std::optional<FinishReason> FinishAfter(const SamplingParams& params, int64_t n_output,
                                               int32_t last_id) {
  if (n_output > params.min_tokens && IsStopId(params, last_id)) return FinishReason::kStop;
  if (n_output >= params.max_tokens) return FinishReason::kLength;
  return std::nullopt;
}

// Positions that a sequence takes at most, in a context of `context`: the prompt, and every new
// token but the last, which is never read.
inline int64_t PositionsNeeded(int64_t prompt_tokens, const SamplingParams& params,
                               int64_t context) {
  return std::min<int64_t>(context, prompt_tokens + std::max(0, params.max_tokens - 1));
}

}  // namespace catena
