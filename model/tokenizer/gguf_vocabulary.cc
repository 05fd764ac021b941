#include "model/tokenizer/gguf_vocabulary.h"

#include <algorithm>

#include "model/arch/decoder_config.h"
#include "model/tokenizer/end_tokens.h"

namespace catena {
namespace {

absl::Status BadVocabulary(const GgufFile& file, std::string_view why) {
  return absl::DataLossError(fmt::format("{}: {}", file.source(), why));
}

// The copied-out arrays agree with one another and with the config.
absl::Status CheckArrays(const GgufFile& file, const GgufVocabulary& v, const ModelConfig& config) {
  const size_t n = v.tokens.size();
  if (static_cast<int64_t>(n) > config.vocab_size) {
    return BadVocabulary(file,
                         fmt::format("{} tokens in a vocabulary of {}", n, config.vocab_size));
  }
  if (!v.scores.empty() && v.scores.size() != n) {
    return BadVocabulary(file, fmt::format("\"tokenizer.ggml.scores\" has {} entries for {} tokens",
                                           v.scores.size(), n));
  }
  if (!v.types.empty() && v.types.size() != n) {
    return BadVocabulary(file, fmt::format("\"tokenizer.ggml.token_type\" has {} entries for {} "
                                           "tokens",
                                           v.types.size(), n));
  }
  return absl::OkStatus();
}

// Marks the tokens that end a turn as control tokens and lists them.
void FindEnds(absl::Span<const std::string_view> end_texts, GgufVocabulary* v) {
  v->types.resize(v->tokens.size(), kNormalToken);
  for (size_t id = 0; id < v->tokens.size(); ++id) {
    const std::string_view text = v->tokens[id];
    const bool added = v->types[id] == kControlToken || v->types[id] == kUserToken;
    const bool of_architecture =
        added && std::find(end_texts.begin(), end_texts.end(), text) != end_texts.end();
    if (!of_architecture && !EndsTurn(text, v->types[id] == kControlToken)) continue;
    v->types[id] = kControlToken;
    v->end_ids.push_back(static_cast<int32_t>(id));
  }
}

}  // namespace

absl::StatusOr<std::optional<GgufVocabulary>> ReadGgufVocabulary(
    const GgufFile& file, const ModelConfig& config, absl::Span<const std::string_view> end_texts,
    std::vector<std::string>* warnings) {
  GgufVocabulary v;
  CATENA_ASSIGN_OR_RETURN(auto model, file.GetString("tokenizer.ggml.model"));
  CATENA_ASSIGN_OR_RETURN(auto tokens, file.GetStrings("tokenizer.ggml.tokens"));
  if (!model.has_value() || !tokens.has_value()) return std::nullopt;
  v.model = *std::move(model);
  v.tokens = *std::move(tokens);
  CATENA_ASSIGN_OR_RETURN(auto pre, file.GetString("tokenizer.ggml.pre"));
  v.pre = std::move(pre).value_or("");
  CATENA_ASSIGN_OR_RETURN(auto scores, file.GetFloats("tokenizer.ggml.scores"));
  v.scores = std::move(scores).value_or(std::vector<float>());
  CATENA_ASSIGN_OR_RETURN(auto types, file.GetInt32s("tokenizer.ggml.token_type"));
  v.types = std::move(types).value_or(std::vector<int32_t>());
  CATENA_ASSIGN_OR_RETURN(auto merges, file.GetStrings("tokenizer.ggml.merges"));
  v.merges = std::move(merges).value_or(std::vector<std::string>());
  CATENA_ASSIGN_OR_RETURN(v.add_bos, file.GetBool("tokenizer.ggml.add_bos_token"));
  CATENA_ASSIGN_OR_RETURN(v.add_space_prefix, file.GetBool("tokenizer.ggml.add_space_prefix"));
  CATENA_RETURN_IF_ERROR(CheckArrays(file, v, config));
  FindEnds(end_texts, &v);
  // An id of the matrices' padding is no token.
  const auto token = [&](int32_t id) {
    return id < static_cast<int64_t>(v.tokens.size()) ? id : -1;
  };
  v.bos_id = token(config.bos_id);
  if (!config.eos_ids.empty()) v.eos_id = token(config.eos_ids[0]);
  CATENA_ASSIGN_OR_RETURN(v.unk_id,
                          ReadGgufTokenId(file, "tokenizer.ggml.unknown_token_id",
                                          static_cast<int64_t>(v.tokens.size()), warnings));
  return v;
}

}  // namespace catena
