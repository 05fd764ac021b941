// A GGUF file's vocabulary, copied out and checked: what tokenizer_gguf.cc builds from.
//
// Thread rules: plain values, a function without state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"

#include "kernels/base/status.h"

namespace catena {

class GgufFile;
struct ModelConfig;

// Values of GgufVocabulary::types.
enum GgufTokenType : int32_t {
  kNormalToken = 1,
  kUnknownToken = 2,
  kControlToken = 3,
  kUserToken = 4,
  kUnusedToken = 5,
  kByteToken = 6
};

struct GgufVocabulary {
  std::string model;                // tokenizer.ggml.model: "llama" (SentencePiece) or "gpt2"
  std::string pre;                  // tokenizer.ggml.pre, "" where absent
  std::vector<std::string> tokens;  // by id
  std::vector<float> scores;        // by id, or empty
  std::vector<int32_t> types;  // by id; tokens that end a turn (end_tokens.h) are control tokens
  std::vector<std::string> merges;                // "left right", best first; empty for "llama"
  int32_t bos_id = -1, eos_id = -1, unk_id = -1;  // of `tokens`; -1: none
  std::vector<int32_t> end_ids;                   // that end a turn by their texts
  std::optional<bool> add_bos, add_space_prefix;
};

// The tokenizer.* metadata of a file; nullopt where it has none. `end_texts`: tokens that end a
// turn of this architecture besides those of end_tokens.h. DATA_LOSS where arrays disagree; an id
// that is no token becomes a warning.
absl::StatusOr<std::optional<GgufVocabulary>> ReadGgufVocabulary(
    const GgufFile& file, const ModelConfig& config, absl::Span<const std::string_view> end_texts,
    std::vector<std::string>* warnings);

}  // namespace catena
