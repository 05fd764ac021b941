// How a model's authors want text to be generated: generation_config.json, or the
// general.sampling.* metadata of a GGUF file. Hostile input like the rest.
//
// Thread rules: plain values, functions without state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/status.h"

namespace catena {

class GgufFile;
struct ModelConfig;

// Absent fields stay empty.
struct GenerationConfig {
  bool do_sample = false;
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty;
  std::optional<int64_t> top_k;  // 0, -1: off
  // Tokens that end a text: the config's and the generation config's, and those that the vocabulary
  // tells by their names (tokenizer/end_tokens.h); no duplicates.
  std::vector<int32_t> eos_ids;
};

// Adds an id unless it is there.
void AddId(int32_t id, std::vector<int32_t>* ids);

// Of a folder, whose file may be absent. Ids that the vocabulary does not have become a warning;
// values out of their range are INVALID_ARGUMENT, of another type DATA_LOSS.
absl::StatusOr<GenerationConfig> ReadGenerationConfig(const std::string& path,
                                                      const ModelConfig& config,
                                                      std::vector<std::string>* warnings);

// Of a GGUF file: eos_ids are the config's, and the file's end of turn and of message.
absl::StatusOr<GenerationConfig> ReadGenerationConfig(const GgufFile& file,
                                                      const ModelConfig& config,
                                                      std::vector<std::string>* warnings);

}  // namespace catena
