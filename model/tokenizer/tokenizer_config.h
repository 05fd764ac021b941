// What a Hugging Face folder says of its tokenizer beside tokenizer.json: special tokens by name,
// added tokens, the chat template. It is spread over tokenizer_config.json,
// special_tokens_map.json, added_tokens.json and chat_template.jinja, each of which may be absent;
// read as transformers does (PreTrainedTokenizerBase._from_pretrained). Hostile input like the
// rest.
//
// Thread rules: plain values, functions without state.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/base/status.h"
#include "model/tokenizer/added_tokens.h"

namespace catena {

struct TokenizerConfig {
  std::string bos_token, eos_token;  // texts; "" where none is named
  std::optional<bool> add_bos;       // where the file says it
  std::string chat_template;         // Jinja text, "" where there is none
  // Tokens to know besides those of tokenizer.json, which mostly has them. Id -1: the vocabulary's.
  std::vector<AddedToken> added;
  std::vector<int32_t> end_ids;  // at which the model's configs end a text
};

// DATA_LOSS where a file is damaged or a named token is no text; INVALID_ARGUMENT where a text is
// too long. end_ids stays empty.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& folder);

}  // namespace catena
