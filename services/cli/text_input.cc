#include "services/cli/text_input.h"

#include <iostream>
#include <iterator>

namespace catena::cli {

void TextInput::Declare(CLI::App& app, const char* text_option, const char* help) {
  auto* words = app.add_option(text_option, text, help);
  app.add_option("--prompt-tokens", ids, "The same as ids: 1,2,3")->delimiter(',')->excludes(words);
}

absl::StatusOr<std::vector<int32_t>> TextInput::Read(const Model& model) const {
  std::vector<int32_t> out = ids;
  if (ids.empty()) {
    if (text.empty()) {
      return absl::InvalidArgumentError("there is no text; give some, or --prompt-tokens 1,2,3");
    }
    CATENA_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, model.NeedTokenizer());
    std::string words = text;
    if (words == "-") words.assign(std::istreambuf_iterator<char>(std::cin), {});
    out = EncodePrompt(*tokenizer, words);
  }
  CATENA_RETURN_IF_ERROR(CheckIds(out, model.config()));
  return out;
}

absl::Status CheckIds(const std::vector<int32_t>& ids, const ModelConfig& config) {
  if (ids.empty()) return absl::InvalidArgumentError("the prompt has no tokens; give some text");
  const auto tokens = static_cast<int64_t>(ids.size());
  if (tokens > config.context_length) {
    return absl::InvalidArgumentError(
        fmt::format("the prompt has {} tokens, the model's context {}; shorten the prompt", tokens,
                    config.context_length));
  }
  for (int32_t id : ids) {
    if (id < 0 || id >= config.vocab_size) {
      return absl::InvalidArgumentError(fmt::format(
          "token id {} is outside the vocabulary; ids are 0 to {}", id, config.vocab_size - 1));
    }
  }
  return absl::OkStatus();
}

}  // namespace catena::cli
