// Named limits of sampling parameters, in one place: what a request may ask for. Validate
// (params.h) enforces them, so everything behind it may size its work by them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace catena {

// Temperatures below this are greedy, as in vLLM (_SAMPLING_EPS in vllm/v1/sample/sampler.py):
// scaled logits would only magnify rounding.
inline constexpr double kGreedyTemperature = 1e-5;

inline constexpr double kMaxTemperature = 100.0;
inline constexpr double kMaxRepetitionPenalty = 100.0;
inline constexpr double kMaxAdditivePenalty = 2.0;  // presence and frequency, either sign: OpenAI's
inline constexpr double kMaxLogitBias = 100.0;      // either sign: OpenAI's
inline constexpr size_t kMaxLogitBiases = 1024;
inline constexpr int32_t kMaxTopLogprobs = 20;  // OpenAI's
inline constexpr int32_t kMaxSequences = 128;   // n; OpenAI's
inline constexpr int32_t kMaxDrafts = 15;       // checked in one pass (--speculate)
inline constexpr int32_t kMaxNewTokens = 1 << 20;
inline constexpr size_t kMaxStopTokenIds = 128;
inline constexpr size_t kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 1024;  // of one stop string

}  // namespace catena
