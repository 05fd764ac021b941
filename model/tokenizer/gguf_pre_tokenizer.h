// How a byte-level vocabulary in a GGUF file wants its text cut: the patterns behind the names of
// tokenizer.ggml.pre (llama.cpp, src/llama-vocab.cpp). Pure functions: any thread.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/base/status.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace catena {

struct GgufPreTokenizer {
  PreTokenizer pre_tokenizer;
  bool ignore_merges = false;  // a piece that is a token is that token
  bool add_bos = false;        // where the file does not say
};

// `name`: tokenizer.ggml.pre, "" where the file has none. `space_prefix`: words start with a space.
// INVALID_ARGUMENT where the name is not known; the message lists those that are.
absl::StatusOr<GgufPreTokenizer> MakeGgufPreTokenizer(std::string_view name, bool space_prefix,
                                                      std::string_view source);

// Of the names that mean the same one; the likeliest first.
std::vector<std::string_view> GgufPreTokenizerRules();

}  // namespace catena
