#include "runtime/text/prompt.h"

#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

// Templates compare roles with these, which may be spelled as special tokens are.
bool IsUsualRole(std::string_view role) {
  return role == "system" || role == "user" || role == "assistant" || role == "tool";
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> EncodePrompt(const Tokenizer& tokenizer,
                                                  std::string_view text) {
  CATENA_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text));
  const int32_t bos = tokenizer.bos_id();
  if (tokenizer.add_bos() && bos >= 0 && (ids.empty() || ids[0] != bos)) {
    ids.insert(ids.begin(), bos);
  }
  return ids;
}

absl::StatusOr<EncodedChat> EncodeChat(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                       ChatPrompt prompt) {
  std::vector<std::string_view> texts;
  for (const ChatMessage& m : prompt.messages) texts.insert(texts.end(), {m.role, m.content});
  CATENA_ASSIGN_OR_RETURN(const std::string mark, UnusedNoncharacter(texts));
  for (ChatMessage& m : prompt.messages) {
    if (!IsUsualRole(m.role)) m.role = tokenizer.BreakSpecial(m.role, mark);
    m.content = tokenizer.BreakSpecial(m.content, mark);
  }
  CATENA_ASSIGN_OR_RETURN(const std::string rendered, chat.Render(prompt));
  EncodedChat out{.rendered = ReplaceAll(rendered, mark, ""), .ids = {}};
  CATENA_ASSIGN_OR_RETURN(out.ids, tokenizer.Encode(rendered, {.mark = mark}));
  return out;
}

absl::Status CheckPrompt(absl::Span<const int32_t> ids, int64_t vocab_size,
                         int64_t context_length) {
  if (ids.empty()) {
    return absl::InvalidArgumentError(
        "the prompt has no tokens; give some text, or --prompt-tokens 1,2,3");
  }
  if (static_cast<int64_t>(ids.size()) > context_length) {
    return absl::InvalidArgumentError(
        fmt::format("the prompt has {} tokens, the model's context {}; shorten the prompt",
                    ids.size(), context_length));
  }
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      return absl::InvalidArgumentError(fmt::format(
          "token id {} is outside the vocabulary; ids are 0 to {}", id, vocab_size - 1));
    }
  }
  return absl::OkStatus();
}

}  // namespace catena
