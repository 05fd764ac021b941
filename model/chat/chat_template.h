// Chat templates: a list of messages to the text that the model was trained on. A model states its
// template as Jinja text, which is interpreted (jinja/template.h). Those of the models that most
// people have are known by their text and need no interpreter; they also have names, for models
// that state none. tests/model/chat_oracle.py holds both against jinja2.
//
// Immutable; any thread.
#pragma once

#include <optional>
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

struct ChatTemplateSpec;  // a row of the table in chat_template.cc

class ChatTemplate {
 public:
  // The template that a model's files state. `bos` and `eos` are the texts of its special tokens,
  // which templates may name. INVALID_ARGUMENT where it is "", or none that can be interpreted.
  static absl::StatusOr<ChatTemplate> Recognise(std::string_view jinja, std::string_view bos,
                                                std::string_view eos);
  // The same, interpreted even where it is a known one.
  static absl::StatusOr<ChatTemplate> Interpret(std::string_view jinja, std::string_view bos,
                                                std::string_view eos);

  // The template of one of Names(). INVALID_ARGUMENT where it is none.
  static absl::StatusOr<ChatTemplate> ByName(std::string_view name, std::string_view bos,
                                             std::string_view eos);
  static std::vector<std::string_view> Names();

  // One of Names(), or "jinja" where it is interpreted.
  std::string_view name() const;

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
  ChatTemplate(const ChatTemplateSpec* spec, std::string_view bos, std::string_view eos)
      : spec_(spec), bos_(bos), eos_(eos) {}
  std::string RenderKnown(absl::Span<const ChatMessage> messages, ChatEnd end) const;
  absl::StatusOr<std::string> RenderJinja(absl::Span<const ChatMessage> messages,
                                          ChatEnd end) const;

  const ChatTemplateSpec* spec_;  // null: jinja_ is there
  std::optional<jinja::Template> jinja_;
  std::string bos_, eos_;
};

}  // namespace catena
