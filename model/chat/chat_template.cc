#include "model/chat/chat_template.h"

#include <algorithm>

#include "model/tokenizer/unicode.h"
#include "model/tokenizer/utf8.h"

namespace catena {

// How a template writes one message.
struct ChatTurn {
  std::string_view role;     // of the messages it is for; "" for any, and the role is written
  std::string_view before;   // then the role, where it is for any
  std::string_view between;  // then the content
  std::string_view after;
};

enum class WritesBos { kNever, kAlways, kWithFirstMessage };

// What a template does, and the texts it is known by.
struct ChatTemplateSpec {
  std::string_view name;
  WritesBos bos;
  std::string_view default_system;           // before a first message that is not a system message
  absl::Span<const ChatTurn> turns;          // the first that suits a message; none: it is left out
  bool skip_empty_system;                    // an empty system message is left out
  bool trim;                                 // white space around contents is left out
  std::string_view generation_prompt;        // the end, with add_generation_prompt
  bool else_eos;                             // the end without is the EOS
  absl::Span<const std::string_view> texts;  // in canonical form, see Canonical
};

namespace {

constexpr ChatTurn kPhi3Turns[] = {{"system", "<|system|>\n", "", "<|end|>\n"},
                                   {"user", "<|user|>\n", "", "<|end|>\n"},
                                   {"assistant", "<|assistant|>\n", "", "<|end|>\n"}};
constexpr std::string_view kPhi3Texts[] = {
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}"
    "{% endif %}"};
constexpr std::string_view kPhi35Texts[] = {
    "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}"
    "{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}"
    "{% endif %}"};

// Phi-3-mini as first published: the generation prompt is part of the user's turn.
constexpr ChatTurn kPhi3FirstTurns[] = {{"user", "<|user|>\n", "", "<|end|>\n<|assistant|>\n"},
                                        {"assistant", "", "", "<|end|>\n"}};
constexpr std::string_view kPhi3FirstTexts[] = {
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}"
    "{{'<|user|>' + '\n' + message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}"
    "{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '\n'}}"
    "{% endif %}{% endfor %}"};

constexpr ChatTurn kPhi3SmallTurns[] = {{"", "<|", "|>\n", "<|end|>\n"}};
constexpr std::string_view kPhi3SmallTexts[] = {
    "{{ bos_token }}{% for message in messages %}"
    "{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}"
    "{% endif %}"};

// Its tools are not supported: a message here has none.
constexpr ChatTurn kPhi4MiniTurns[] = {{"", "<|", "|>", "<|end|>"}};
constexpr std::string_view kPhi4MiniTexts[] = {
    "{% for message in messages %}"
    "{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + "
    "'<|/tool|>' + '<|end|>' }}{% else %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}"
    "{% endif %}"};

constexpr ChatTurn kChatMlTurns[] = {{"", "<|im_start|>", "\n", "<|im_end|>\n"}};
constexpr std::string_view kChatMlTexts[] = {
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}",
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
    "{% endif %}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"};
constexpr std::string_view kSmolLm2Texts[] = {
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
    "Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"};
constexpr std::string_view kQwen2Texts[] = {
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"};

constexpr ChatTurn kLlama3Turns[] = {
    {"", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"}};
constexpr std::string_view kLlama3Texts[] = {
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"};

constexpr ChatTemplateSpec kTemplates[] = {
    {"phi3", WritesBos::kNever, "", kPhi3Turns, false, false, "<|assistant|>\n", true, kPhi3Texts},
    {"phi3-2024-04", WritesBos::kAlways, "", kPhi3FirstTurns, false, false, "", false,
     kPhi3FirstTexts},
    {"phi3-small", WritesBos::kAlways, "", kPhi3SmallTurns, false, false, "<|assistant|>\n", true,
     kPhi3SmallTexts},
    {"phi3.5", WritesBos::kNever, "", kPhi3Turns, true, false, "<|assistant|>\n", true,
     kPhi35Texts},
    {"phi4-mini", WritesBos::kNever, "", kPhi4MiniTurns, false, false, "<|assistant|>", true,
     kPhi4MiniTexts},
    {"chatml", WritesBos::kNever, "", kChatMlTurns, false, false, "<|im_start|>assistant\n", false,
     kChatMlTexts},
    {"smollm2", WritesBos::kNever,
     "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
     "<|im_end|>\n",
     kChatMlTurns, false, false, "<|im_start|>assistant\n", false, kSmolLm2Texts},
    {"qwen2", WritesBos::kNever, "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
     kChatMlTurns, false, false, "<|im_start|>assistant\n", false, kQwen2Texts},
    {"llama3", WritesBos::kWithFirstMessage, "", kLlama3Turns, false, true,
     "<|start_header_id|>assistant<|end_header_id|>\n\n", false, kLlama3Texts},
};

// What Jinja reads the same way is made the same: the escape \n in a string is a newline, and (with
// trim_blocks, which chat templates are rendered with) a newline behind a block is nothing.
std::string Canonical(std::string_view jinja) {
  std::string out;
  for (size_t i = 0; i < jinja.size(); ++i) {
    if (jinja.substr(i, 2) == "\\n") {
      out.push_back('\n');
      ++i;
    } else if (jinja[i] != '\n' || !out.ends_with("%}")) {
      out.push_back(jinja[i]);
    }
  }
  return out;
}

std::string NameList() {
  std::string out;
  for (const ChatTemplateSpec& t : kTemplates) {
    out += fmt::format("{}{}", out.empty() ? "" : ", ", t.name);
  }
  return out;
}

// Python's str.strip, which Jinja's trim is.
std::string_view Trim(std::string_view text) { return jinja::Strip(text, jinja::Side::kBoth); }

// A message that goes on ends with its content: as transformers cuts it, without white space at its
// end where it also has some at its start.
std::string_view OpenContent(std::string_view content) {
  return Trim(content).data() == content.data() ? content : Trim(content);
}

// `open`: the message goes on.
void AppendTurn(const ChatTemplateSpec& spec, const ChatMessage& message, bool open,
                std::string* out) {
  if (spec.skip_empty_system && message.role == "system" && message.content.empty()) return;
  const auto turn = std::find_if(spec.turns.begin(), spec.turns.end(), [&](const ChatTurn& t) {
    return t.role.empty() || t.role == message.role;
  });
  if (turn == spec.turns.end()) return;
  out->append(turn->before);
  if (turn->role.empty()) out->append(ToValidUtf8(message.role));
  out->append(turn->between);
  std::string content = ToValidUtf8(message.content);
  if (spec.trim) content = std::string(Trim(content));
  if (open) content = std::string(OpenContent(content));
  out->append(content);
  if (!open) out->append(turn->after);
}

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::Recognise(std::string_view jinja, std::string_view bos,
                                                     std::string_view eos) {
  if (jinja.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("the model states no chat template: choose one with --chat-template NAME ({})",
                    NameList()));
  }
  const std::string canonical = Canonical(jinja);
  for (const ChatTemplateSpec& t : kTemplates) {
    if (std::find(t.texts.begin(), t.texts.end(), canonical) != t.texts.end()) {
      return ChatTemplate(&t, bos, eos);
    }
  }
  return Interpret(jinja, bos, eos);
}

absl::StatusOr<ChatTemplate> ChatTemplate::Interpret(std::string_view jinja, std::string_view bos,
                                                     std::string_view eos) {
  auto parsed = jinja::Template::Parse(jinja);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("{}; choose the one that the model's resembles with --chat-template NAME ({})",
                    Message(parsed.status()), NameList()));
  }
  ChatTemplate chat(nullptr, bos, eos);
  chat.jinja_ = *std::move(parsed);
  return chat;
}

absl::StatusOr<ChatTemplate> ChatTemplate::ByName(std::string_view name, std::string_view bos,
                                                  std::string_view eos) {
  for (const ChatTemplateSpec& t : kTemplates) {
    if (t.name == name) return ChatTemplate(&t, bos, eos);
  }
  return absl::InvalidArgumentError(fmt::format("no chat template is named \"{}\"; known are {}",
                                                name.substr(0, 80), NameList()));
}

std::vector<std::string_view> ChatTemplate::Names() {
  std::vector<std::string_view> names;
  for (const ChatTemplateSpec& t : kTemplates) names.push_back(t.name);
  return names;
}

std::string_view ChatTemplate::name() const { return spec_ == nullptr ? "jinja" : spec_->name; }

absl::StatusOr<std::string> ChatTemplate::Render(absl::Span<const ChatMessage> messages,
                                                 ChatEnd end) const {
  if (end == ChatEnd::kFinalMessage && (messages.empty() || messages.back().role != "assistant")) {
    return absl::InvalidArgumentError(
        "the last message is not the assistant's: there is no answer to go on from");
  }
  if (spec_ == nullptr) return RenderJinja(messages, end);
  return RenderKnown(messages, end);
}

std::string ChatTemplate::RenderKnown(absl::Span<const ChatMessage> messages, ChatEnd end) const {
  const bool open = end == ChatEnd::kFinalMessage;
  std::string out;
  const bool bos = spec_->bos == WritesBos::kAlways ||
                   (spec_->bos == WritesBos::kWithFirstMessage && !messages.empty());
  if (bos) out += bos_;
  if (!messages.empty() && messages[0].role != "system") out += spec_->default_system;
  for (size_t i = 0; i < messages.size(); ++i) {
    AppendTurn(*spec_, messages[i], open && i + 1 == messages.size(), &out);
  }
  if (end == ChatEnd::kGenerationPrompt) {
    out += spec_->generation_prompt;
  } else if (end == ChatEnd::kClosed && spec_->else_eos) {
    out += eos_;
  }
  return out;
}

absl::StatusOr<std::string> ChatTemplate::RenderJinja(absl::Span<const ChatMessage> messages,
                                                      ChatEnd end) const {
  jinja::List list;
  for (const ChatMessage& m : messages) {
    list.push_back(jinja::Dict{{"role", ToValidUtf8(m.role)}, {"content", ToValidUtf8(m.content)}});
  }
  // What transformers gives every template.
  const jinja::Dict variables = {
      {"messages", std::move(list)}, {"tools", jinja::None{}},
      {"documents", jinja::None{}},  {"add_generation_prompt", end == ChatEnd::kGenerationPrompt},
      {"bos_token", bos_},           {"eos_token", eos_}};
  CATENA_ASSIGN_OR_RETURN(std::string text, jinja_->Render(variables, std::time(nullptr)));
  if (end != ChatEnd::kFinalMessage) return text;
  const std::string content = ToValidUtf8(messages.back().content);
  const std::string_view stripped = Trim(content);
  const size_t at = text.rfind(stripped);
  if (at == text.npos) {
    return absl::InvalidArgumentError(
        "the chat template does not write the last message as it is: it cannot go on");
  }
  const std::string_view wanted = jinja::Strip(content, jinja::Side::kLeft);
  const bool kept = std::string_view(text).substr(at, wanted.size()) == content;
  text.resize(at + (kept ? wanted.size() : stripped.size()));
  return text;
}

}  // namespace catena
