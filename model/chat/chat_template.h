// Chat templates: a list of messages to the text that the model was trained on. A model states its
// template as Jinja text, which is interpreted (jinja/template.h); some have names here, for models
// that state none. tests/model/chat_oracle.py holds both against jinja2. Rendering takes a few
// microseconds a message, less than to encode what comes out, so none has a faster path of its own.
//
// Immutable; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

#include "kernels/base/status.h"
#include "model/chat/jinja/template.h"

namespace catena {

struct ChatMessage {
  std::string role;     // "system", "user", "assistant"; another is treated as the template does
  std::string content;  // may hold the text of special tokens: who encodes it decides
};

// A conversation that is to be answered.
struct ChatPrompt {
  std::vector<ChatMessage> messages;
  // The last message is the start of the answer, which goes on from there.
  bool continue_final = false;
};

// How a rendered conversation ends.
enum class ChatEnd {
  kClosed,            // behind the last message
  kGenerationPrompt,  // where the assistant's answer starts
  kFinalMessage       // inside the last message, which goes on (peers' continue_final_message)
};

class ChatTemplate {
 public:
  // The template that a model's files state. `bos` and `eos` are the texts of its special tokens,
  // which templates may name. INVALID_ARGUMENT where it is "", or none that can be interpreted.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view jinja, std::string_view bos,
                                            std::string_view eos);
  // The template of one of Names(). INVALID_ARGUMENT where it is none.
  static absl::StatusOr<ChatTemplate> ByName(std::string_view name, std::string_view bos,
                                             std::string_view eos);
  static std::vector<std::string_view> Names();

  // The text for `messages`, in which what is not UTF-8 counts as U+FFFD (utf8.h).
  // INVALID_ARGUMENT where the last message is to go on and is not the assistant's, or is not in
  // the text, and where the template refuses the messages.
  absl::StatusOr<std::string> Render(absl::Span<const ChatMessage> messages, ChatEnd end) const;
  // The text whose continuation is the answer to `prompt`.
  absl::StatusOr<std::string> Render(const ChatPrompt& prompt) const {
    return Render(prompt.messages,
                  prompt.continue_final ? ChatEnd::kFinalMessage : ChatEnd::kGenerationPrompt);
  }

 private:
  ChatTemplate(jinja::Template jinja, std::string_view bos, std::string_view eos)
      : jinja_(std::move(jinja)), bos_(bos), eos_(eos) {}
  absl::StatusOr<std::string> RenderList(jinja::List messages, ChatEnd end) const;

  jinja::Template jinja_;
  std::string bos_, eos_;
};

}  // namespace catena
