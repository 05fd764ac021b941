// The sampling flags of DESIGN's user contract, as the sampler takes them.
#pragma once

#include <string>

#include "model/sampler/params.h"
#include "services/cli/command.h"

namespace catena::cli {

struct SamplingOptions {
  SamplingOverrides overrides;
  std::vector<std::string> logit_bias;  // ID=BIAS
  std::string seed;                     // a number, or "-1" or "" for a drawn one
  int32_t default_max_tokens = 0;

  // max_tokens: what --max-tokens is where it is not given.
  void Declare(App& app, int32_t max_tokens = SamplingParams().max_tokens);
  // What the flags say. INVALID_ARGUMENT names the flag.
  absl::StatusOr<SamplingOverrides> Overrides() const;
};

}  // namespace catena::cli
