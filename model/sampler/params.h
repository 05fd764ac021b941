// What a request may say about sampling, and where unsaid values come from. The header of sampler.h
// gives each field's formula and source.
//
// Thread rules: plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/status.h"
#include "model/generation_config.h"

namespace catena {

// Every field has its value: a request after defaults. The defaults are greedy with all else off.
struct SamplingParams {
  double temperature = 0.0;         // below kGreedyTemperature: greedy, and no filter applies
  int32_t top_k = 0;                // 0 or -1 (vLLM's spelling): off; over the vocabulary: off
  double top_p = 1.0;               // 1: off
  double min_p = 0.0;               // 0: off
  double typical_p = 1.0;           // 1: off
  double repetition_penalty = 1.0;  // 1: off; over prompt and output
  double presence_penalty = 0.0;    // over the output only
  double frequency_penalty = 0.0;   // over the output only
  std::map<int32_t, float> logit_bias = {};

  int32_t min_tokens = 0;   // stop ids are masked and stop strings wait until the output has these
  int32_t max_tokens = 50;  // of output, a final stop id included
  bool ignore_eos = false;  // goes on past eos_token_ids; stop_token_ids still stop
  std::vector<int32_t> eos_token_ids = {};   // the model's own
  std::vector<int32_t> stop_token_ids = {};  // the request's
  std::vector<std::string> stop = {};

  bool logprobs = false;
  int32_t top_logprobs = 0;  // alternatives beside each chosen token
  int32_t n = 1;             // sequences of one prompt
  int32_t speculate = 0;     // tokens guessed at a time (PromptLookup); changes none
  uint64_t seed = 0;
};

// What the user said; an empty field was not said. For the containers, empty is also the default.
struct SamplingOverrides {
  std::optional<double> temperature;
  std::optional<int32_t> top_k;
  std::optional<double> top_p, min_p, typical_p;
  std::optional<double> repetition_penalty, presence_penalty, frequency_penalty;
  std::map<int32_t, float> logit_bias = {};
  std::optional<int32_t> min_tokens, max_tokens;
  std::optional<bool> ignore_eos;
  std::vector<int32_t> stop_token_ids = {};
  std::vector<std::string> stop = {};
  std::optional<bool> logprobs;
  std::optional<int32_t> top_logprobs, n, speculate;
  std::optional<uint64_t> seed;
};

// The user's words over the model's generation config over the defaults above. Greedy unless the
// user gives a temperature or the model says do_sample (then its temperature, or 1); the model's
// filters and repetition penalty hold either way, as in vLLM. `fresh_seed` is used where the user
// gives none: whoever calls owns the randomness and tells the user what was chosen.
SamplingParams WithDefaults(const GenerationConfig& generation, const SamplingOverrides& user,
                            uint64_t fresh_seed);

// INVALID_ARGUMENT with one line that names the field as the command line spells it, its value and
// what is allowed. Ids must be below `vocab_size`; eos_token_ids are the model's and not checked.
absl::Status Validate(const SamplingParams& params, int64_t vocab_size);

}  // namespace catena
