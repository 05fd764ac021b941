// The sampling flags of DESIGN's user contract, as the sampler takes them.
#pragma once

#include <string>

#include "model/sampler/params.h"
#include "services/cli/command.h"

namespace catena::cli {

struct SamplingOptions {
  SamplingOverrides overrides;
  std::vector<std::string> logit_bias;  // ID=BIAS

  void Declare(CLI::App& app);
  // The flags over the model's generation config over the defaults. A seed is drawn where none is
  // given. INVALID_ARGUMENT names the flag.
  absl::StatusOr<SamplingParams> Resolve(const GenerationConfig& generation, int64_t vocab_size);
};

}  // namespace catena::cli
