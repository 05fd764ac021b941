#include "model/sampler/params.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "model/sampler/sampling_limits.h"

namespace catena {
namespace {

// Also refuses NaN, which is in no range.
template <typename T>
absl::Status CheckRange(std::string_view flag, T value, T lowest, T highest) {
  if (value >= lowest && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} is {}: it must be from {} to {}", flag, value, lowest, highest));
}

absl::Status CheckAboveZero(std::string_view flag, double value, double highest) {
  if (value > 0 && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} is {}: it must be above 0 and at most {}", flag, value, highest));
}

absl::Status CheckCount(std::string_view flag, size_t count, size_t most) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} has {} entries: at most {} are allowed", flag, count, most));
}

absl::Status CheckId(std::string_view flag, int64_t id, int64_t vocab_size) {
  if (id >= 0 && id < vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{} names the token id {}: ids of this model are from 0 to {}", flag, id, vocab_size - 1));
}

absl::Status CheckDistribution(const SamplingParams& p) {
  CATENA_RETURN_IF_ERROR(CheckRange("--temperature", p.temperature, 0.0, kMaxTemperature));
  CATENA_RETURN_IF_ERROR(
      CheckRange("--top-k", p.top_k, int32_t{-1}, std::numeric_limits<int32_t>::max()));
  CATENA_RETURN_IF_ERROR(CheckRange("--top-p", p.top_p, 0.0, 1.0));
  CATENA_RETURN_IF_ERROR(CheckRange("--min-p", p.min_p, 0.0, 1.0));
  CATENA_RETURN_IF_ERROR(CheckAboveZero("--typical-p", p.typical_p, 1.0));
  CATENA_RETURN_IF_ERROR(
      CheckAboveZero("--repetition-penalty", p.repetition_penalty, kMaxRepetitionPenalty));
  CATENA_RETURN_IF_ERROR(CheckRange("--presence-penalty", p.presence_penalty, -kMaxAdditivePenalty,
                                    kMaxAdditivePenalty));
  return CheckRange("--frequency-penalty", p.frequency_penalty, -kMaxAdditivePenalty,
                    kMaxAdditivePenalty);
}

absl::Status CheckLogitBias(const SamplingParams& p, int64_t vocab_size) {
  CATENA_RETURN_IF_ERROR(CheckCount("--logit-bias", p.logit_bias.size(), kMaxLogitBiases));
  for (const auto& [id, bias] : p.logit_bias) {
    CATENA_RETURN_IF_ERROR(CheckId("--logit-bias", id, vocab_size));
    CATENA_RETURN_IF_ERROR(CheckRange(fmt::format("--logit-bias of the token id {}", id),
                                      double{bias}, -kMaxLogitBias, kMaxLogitBias));
  }
  return absl::OkStatus();
}

absl::Status CheckStops(const SamplingParams& p, int64_t vocab_size) {
  CATENA_RETURN_IF_ERROR(CheckCount("--stop-token-ids", p.stop_token_ids.size(), kMaxStopTokenIds));
  for (int32_t id : p.stop_token_ids) {
    CATENA_RETURN_IF_ERROR(CheckId("--stop-token-ids", id, vocab_size));
  }
  CATENA_RETURN_IF_ERROR(CheckCount("--stop", p.stop.size(), kMaxStopStrings));
  for (const std::string& stop : p.stop) {
    CATENA_RETURN_IF_ERROR(CheckRange("the length in bytes of a --stop string", stop.size(),
                                      size_t{1}, kMaxStopBytes));
  }
  return absl::OkStatus();
}

absl::Status CheckCounts(const SamplingParams& p) {
  CATENA_RETURN_IF_ERROR(CheckRange("--max-tokens", p.max_tokens, 1, kMaxNewTokens));
  CATENA_RETURN_IF_ERROR(CheckRange("--min-tokens", p.min_tokens, 0, kMaxNewTokens));
  if (p.min_tokens > p.max_tokens) {
    return absl::InvalidArgumentError(fmt::format(
        "--min-tokens is {}: it must be from 0 to --max-tokens, {}", p.min_tokens, p.max_tokens));
  }
  CATENA_RETURN_IF_ERROR(CheckRange("--n", p.n, 1, kMaxSequences));
  CATENA_RETURN_IF_ERROR(CheckRange("--speculate", p.speculate, 0, kMaxDrafts));
  CATENA_RETURN_IF_ERROR(CheckRange("--logprobs", p.top_logprobs, 0, kMaxTopLogprobs));
  if (p.top_logprobs > 0 && !p.logprobs) {
    return absl::InvalidArgumentError(
        fmt::format("top_logprobs is {}: it must be 0 without logprobs", p.top_logprobs));
  }
  return absl::OkStatus();
}

}  // namespace

SamplingParams WithDefaults(const GenerationConfig& generation, const SamplingOverrides& user,
                            uint64_t fresh_seed) {
  const SamplingParams defaults;
  SamplingParams p;
  const double model_temperature =
      generation.do_sample ? generation.temperature.value_or(1.0) : defaults.temperature;
  // Files spell "off" as 0 or -1, and a count past int32 filters nothing.
  const int64_t model_top_k = std::clamp<int64_t>(generation.top_k.value_or(defaults.top_k), 0,
                                                  std::numeric_limits<int32_t>::max());
  p.temperature = user.temperature.value_or(model_temperature);
  p.top_k = user.top_k.value_or(static_cast<int32_t>(model_top_k));
  p.top_p = user.top_p.value_or(generation.top_p.value_or(defaults.top_p));
  p.min_p = user.min_p.value_or(generation.min_p.value_or(defaults.min_p));
  p.typical_p = user.typical_p.value_or(generation.typical_p.value_or(defaults.typical_p));
  p.repetition_penalty = user.repetition_penalty.value_or(
      generation.repetition_penalty.value_or(defaults.repetition_penalty));
  p.presence_penalty = user.presence_penalty.value_or(defaults.presence_penalty);
  p.frequency_penalty = user.frequency_penalty.value_or(defaults.frequency_penalty);
  p.logit_bias = user.logit_bias;
  p.min_tokens = user.min_tokens.value_or(defaults.min_tokens);
  p.max_tokens = user.max_tokens.value_or(defaults.max_tokens);
  p.ignore_eos = user.ignore_eos.value_or(defaults.ignore_eos);
  p.eos_token_ids = generation.eos_ids;
  p.stop_token_ids = user.stop_token_ids;
  p.stop = user.stop;
  p.logprobs = user.logprobs.value_or(defaults.logprobs);
  p.top_logprobs = user.top_logprobs.value_or(defaults.top_logprobs);
  p.n = user.n.value_or(defaults.n);
  p.speculate = user.speculate.value_or(defaults.speculate);
  p.seed = user.seed.value_or(fresh_seed);
  return p;
}

absl::Status Validate(const SamplingParams& params, int64_t vocab_size) {
  CATENA_RETURN_IF_ERROR(CheckDistribution(params));
  CATENA_RETURN_IF_ERROR(CheckLogitBias(params, vocab_size));
  CATENA_RETURN_IF_ERROR(CheckStops(params, vocab_size));
  return CheckCounts(params);
}

}  // namespace catena
