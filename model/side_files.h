// What a model's files say beside config and weights: how to generate, which tokenizer, which chat
// template and special tokens. Read once when a checkpoint is opened; hostile input like the rest.
// Thread rules: functions without state.
#pragma once

#include <optional>
#include <string>

#include "model/arch/arch.h"
#include "model/generation_config.h"
#include "model/tokenizer/gguf_vocabulary.h"
#include "model/tokenizer/tokenizer_config.h"
#include "model/weights/gguf.h"

namespace catena {

struct SideFiles {
  GenerationConfig generation;
  std::optional<GgufVocabulary> vocabulary;        // GGUF only
  std::optional<std::string> tokenizer_json_path;  // a folder's only
  TokenizerConfig tokenizer;                       // of a GGUF file: its texts and end_ids
  std::vector<std::string> warnings;               // a line each, for the user
};

// generation_config.json, what ReadTokenizerConfig reads, and where tokenizer.json is; each may be
// absent.
absl::StatusOr<SideFiles> ReadFolderSide(const std::string& folder, const ModelConfig& config);

// The tokenizer.* and general.sampling.* metadata of a GGUF file, which may be absent.
absl::StatusOr<SideFiles> ReadGgufSide(const GgufFile& file, const Architecture& architecture,
                                       const ModelConfig& config);

}  // namespace catena
