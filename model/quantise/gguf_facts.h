// What a GGUF file says of a model's config, in the keys and tensors of llama.cpp's converter
// (convert_hf_to_gguf.py, gguf-py's constants.py).
//
// Thread rules: functions without state.
#pragma once

#include <string>
#include <vector>

#include "model/quantise/quantise_plan.h"

namespace catena {

// The metadata of the config and of how to generate, and the tensors that hold what of the rotary
// embedding keys cannot. What a key does not exist for is left out: see FirstDifference.
struct GgufFacts {
  GgufMetadata metadata;
  std::vector<PlannedTensor> tensors;
};
GgufFacts DescribeModel(const ModelConfig& config, const GenerationConfig& generation,
                        const std::string& name);

// What a model that was read back would compute otherwise, for a message: "its sliding window";
// "" where nothing.
std::string FirstDifference(const ModelConfig& config, const ModelConfig& read);

}  // namespace catena
