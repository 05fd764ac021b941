// A prompt before it is run: text to ids as the model was trained to read it, and whether the model
// can take them. The same in one process and in a cluster.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

#include "model/chat/chat_template.h"
#include "model/tokenizer/tokenizer.h"

namespace catena {

// With its BOS where the model wants one. INVALID_ARGUMENT where the tokenizer refuses the text.
absl::StatusOr<std::vector<int32_t>> EncodePrompt(const Tokenizer& tokenizer,
                                                  std::string_view text);

// A conversation as the model's template writes it. Special tokens are the template's alone: what
// the messages have of them stays text.
struct EncodedChat {
  std::string rendered;
  std::vector<int32_t> ids;
};
// INVALID_ARGUMENT where the template or the tokenizer refuses the messages.
absl::StatusOr<EncodedChat> EncodeChat(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                       ChatPrompt prompt);

// INVALID_ARGUMENT where there are no ids, more than the context, or one outside the vocabulary.
absl::Status CheckPrompt(absl::Span<const int32_t> ids, int64_t vocab_size, int64_t context_length);

}  // namespace catena
