#include "services/common/sampling_codec.h"

#include <limits>

#include "runtime/chain/limits.h"

namespace catena {

void EncodeSampling(const SamplingParams& params, v1::SamplingValues* values) {
  values->set_temperature(params.temperature);
  values->set_top_k(params.top_k);
  values->set_top_p(params.top_p);
  values->set_min_p(params.min_p);
  values->set_typical_p(params.typical_p);
  values->set_repetition_penalty(params.repetition_penalty);
  values->set_presence_penalty(params.presence_penalty);
  values->set_frequency_penalty(params.frequency_penalty);
  values->mutable_logit_bias()->insert(params.logit_bias.begin(), params.logit_bias.end());
  values->set_min_tokens(params.min_tokens);
  values->set_max_tokens(params.max_tokens);
  values->set_ignore_eos(params.ignore_eos);
  values->mutable_eos_token_ids()->Add(params.eos_token_ids.begin(), params.eos_token_ids.end());
  values->mutable_stop_token_ids()->Add(params.stop_token_ids.begin(), params.stop_token_ids.end());
  values->set_logprobs(params.logprobs);
  values->set_top_logprobs(params.top_logprobs);
  values->set_n(params.n);
  values->set_seed(params.seed);
}

absl::StatusOr<SamplingParams> DecodeSampling(const v1::SamplingValues& values) {
  if (values.eos_token_ids_size() > limits::kMaxStopIds) {
    return absl::InvalidArgumentError(fmt::format("eos_token_ids has {} entries: at most {}",
                                                  values.eos_token_ids_size(),
                                                  limits::kMaxStopIds));
  }
  SamplingParams p;  // an absent field leaves its default
  const auto set = [](bool present, auto value, auto* field) {
    if (present) *field = value;
  };
  set(values.has_temperature(), values.temperature(), &p.temperature);
  set(values.has_top_k(), values.top_k(), &p.top_k);
  set(values.has_top_p(), values.top_p(), &p.top_p);
  set(values.has_min_p(), values.min_p(), &p.min_p);
  set(values.has_typical_p(), values.typical_p(), &p.typical_p);
  set(values.has_repetition_penalty(), values.repetition_penalty(), &p.repetition_penalty);
  set(values.has_presence_penalty(), values.presence_penalty(), &p.presence_penalty);
  set(values.has_frequency_penalty(), values.frequency_penalty(), &p.frequency_penalty);
  p.logit_bias.insert(values.logit_bias().begin(), values.logit_bias().end());
  set(values.has_min_tokens(), values.min_tokens(), &p.min_tokens);
  set(values.has_max_tokens(), values.max_tokens(), &p.max_tokens);
  set(values.has_ignore_eos(), values.ignore_eos(), &p.ignore_eos);
  p.eos_token_ids.assign(values.eos_token_ids().begin(), values.eos_token_ids().end());
  p.stop_token_ids.assign(values.stop_token_ids().begin(), values.stop_token_ids().end());
  set(values.has_logprobs(), values.logprobs(), &p.logprobs);
  set(values.has_top_logprobs(), values.top_logprobs(), &p.top_logprobs);
  set(values.has_n(), values.n(), &p.n);
  set(values.has_seed(), values.seed(), &p.seed);
  CATENA_RETURN_IF_ERROR(Validate(p, int64_t{std::numeric_limits<int32_t>::max()} + 1));
  return p;
}

}  // namespace catena
