#include "model/chat/chat_template.h"

#include <algorithm>
#include <ctime>

#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

struct NamedTemplate {
  std::string_view name, jinja;
};

constexpr NamedTemplate kNamed[] = {
    {"phi3",
     "{% for message in messages %}{% if message['role'] == 'system' %}"
     "{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
     "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
     "{% elif message['role'] == 'assistant' %}"
     "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"},
    // Phi-3-mini as first published: the generation prompt is part of the user's turn.
    {"phi3-2024-04",
     "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}"
     "{{'<|user|>' + '\n' + message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}"
     "{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '\n'}}"
     "{% endif %}{% endfor %}"},
    {"phi3-small",
     "{{ bos_token }}{% for message in messages %}"
     "{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"},
    {"phi3.5",
     "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}"
     "{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
     "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
     "{% elif message['role'] == 'assistant' %}"
     "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"},
    {"phi4-mini",
     "{% for message in messages %}"
     "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"},
    {"chatml",
     "{% for message in messages %}"
     "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
     "{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"},
    {"smollm2",
     "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
     "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
     "Face<|im_end|>\n' }}{% endif %}"
     "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {"qwen2",
     "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
     "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
     "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {"llama3",
     "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
     "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
     " + message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
     "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"},
};

std::string NameList() { return fmt::format("{}", fmt::join(ChatTemplate::Names(), ", ")); }

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view jinja, std::string_view bos,
                                                 std::string_view eos) {
  if (jinja.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("the model states no chat template: choose one with --chat-template NAME ({})",
                    NameList()));
  }
  auto parsed = jinja::Template::Parse(jinja);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("{}; choose the one that the model's resembles with --chat-template NAME ({})",
                    Message(parsed.status()), NameList()));
  }
  return ChatTemplate(*std::move(parsed), bos, eos);
}

absl::StatusOr<ChatTemplate> ChatTemplate::ByName(std::string_view name, std::string_view bos,
                                                  std::string_view eos) {
  for (const NamedTemplate& t : kNamed) {
    if (t.name == name) return Parse(t.jinja, bos, eos);
  }
  return absl::InvalidArgumentError(fmt::format("no chat template is named \"{}\"; known are {}",
                                                name.substr(0, 80), NameList()));
}

std::vector<std::string_view> ChatTemplate::Names() {
  std::vector<std::string_view> names;
  for (const NamedTemplate& t : kNamed) names.push_back(t.name);
  return names;
}

absl::StatusOr<std::string> ChatTemplate::Render(absl::Span<const ChatMessage> messages,
                                                 ChatEnd end) const {
  jinja::List list;
  std::vector<std::string_view> contents;
  for (const ChatMessage& m : messages) {
    list.push_back(jinja::Dict{{"role", ToValidUtf8(m.role)}, {"content", ToValidUtf8(m.content)}});
    contents.push_back(m.content);
  }
  if (end != ChatEnd::kFinalMessage) return RenderList(std::move(list), end);

  if (messages.empty() || messages.back().role != "assistant") {
    return absl::InvalidArgumentError(
        "the last message is not the assistant's: there is no answer to go on from");
  }
  // As transformers finds where it ends: it goes on with a mark, before which the text is cut. A
  // space behind the mark shows whether the template trims, and then what is before it is trimmed.
  CATENA_ASSIGN_OR_RETURN(const std::string mark, UnusedNoncharacter(contents));
  list.back() = jinja::Dict{{"role", messages.back().role},
                            {"content", ToValidUtf8(messages.back().content) + mark + " "}};
  CATENA_ASSIGN_OR_RETURN(std::string text, RenderList(std::move(list), end));
  const size_t at = text.rfind(mark);
  if (at == text.npos) {
    return absl::InvalidArgumentError(
        "the chat template does not write the last message as it is: it cannot go on");
  }
  const bool trims = text.compare(at + mark.size(), 1, " ") != 0;
  text.resize(at);
  return trims ? std::string(jinja::Strip(text, jinja::Side::kRight)) : text;
}

absl::StatusOr<std::string> ChatTemplate::RenderList(jinja::List messages, ChatEnd end) const {
  // What transformers gives every template.
  return jinja_.Render({{"messages", std::move(messages)},
                        {"tools", jinja::None{}},
                        {"documents", jinja::None{}},
                        {"add_generation_prompt", end == ChatEnd::kGenerationPrompt},
                        {"bos_token", bos_},
                        {"eos_token", eos_}},
                       std::time(nullptr));
}

}  // namespace catena
