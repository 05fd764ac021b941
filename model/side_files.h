// What a model's files say beside config and weights: how to generate, which tokenizer, which chat
// template and special tokens. Read once when a checkpoint is opened; hostile input like the rest.
// Thread rules: functions without state.
#pragma once

#include <optional>
#include <string>

#include "model/arch/arch.h"
#include "model/checkpoint.h"
#include "model/weights/gguf.h"

namespace catena {

struct SideFiles {
  GenerationConfig generation;
  std::optional<GgufVocabulary> vocabulary;        // GGUF only
  std::optional<std::string> tokenizer_json_path;  // a folder's only
  std::string chat_template, bos_token, eos_token;
};

// generation_config.json, tokenizer_config.json, chat_template.jinja and tokenizer.json of a
// folder, each of which may be absent.
absl::StatusOr<SideFiles> ReadFolderSide(const std::string& folder, const ModelConfig& config);

// The tokenizer.* and general.sampling.* metadata of a GGUF file, which may be absent.
absl::StatusOr<SideFiles> ReadGgufSide(const GgufFile& file, const Architecture& architecture,
                                       const ModelConfig& config);

}  // namespace catena
