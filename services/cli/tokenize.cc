// catena tokenize: JSON lines in, JSON lines out, in order; weights are not touched.
//   {"text": …} or {"bytes_b64": …}          -> {"ids": […]}
//   {"ids": […]}                             -> {"text": …, "text_skip_special": …}
//   {"messages": […], "add_generation_prompt": true} -> {"rendered": …, "ids": […]}
//   {"messages": […], "continue_final_message": true}, the same
#include <iostream>

#include <absl/strings/escaping.h>

#include "model/file_limits.h"
#include "services/cli/model_options.h"
#include "services/cli/output.h"
#include "services/cli/text_input.h"

namespace catena::cli {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

absl::StatusOr<std::vector<int32_t>> ReadIds(const json& ids) {
  std::vector<int32_t> out;
  if (!ids.is_array()) return absl::InvalidArgumentError("\"ids\" must be a list of token ids");
  for (const json& id : ids) {
    const std::optional<int64_t> value = AsInt(id);
    const bool fits = value && *value >= INT32_MIN && *value <= INT32_MAX;
    if (!fits) return absl::InvalidArgumentError("\"ids\" must be a list of token ids");
    out.push_back(static_cast<int32_t>(*value));
  }
  return out;
}

absl::StatusOr<ChatEnd> ReadEnd(const json& line, const std::string& where) {
  CATENA_ASSIGN_OR_RETURN(const auto prompt, GetBool(line, "add_generation_prompt", where));
  CATENA_ASSIGN_OR_RETURN(const auto go_on, GetBool(line, "continue_final_message", where));
  if (go_on.value_or(false) && prompt.value_or(false)) {
    return absl::InvalidArgumentError(
        "\"continue_final_message\" goes on with the last message, \"add_generation_prompt\" "
        "starts "
        "another: give one of them");
  }
  if (go_on.value_or(false)) return ChatEnd::kFinalMessage;
  return prompt.value_or(false) ? ChatEnd::kGenerationPrompt : ChatEnd::kClosed;
}

absl::StatusOr<ordered_json> Render(const json& line, const ModelOptions& options,
                                    const Model& model, const std::string& where) {
  CATENA_ASSIGN_OR_RETURN(const ChatTemplate chat, OpenChatTemplate(model, options));
  std::vector<ChatMessage> messages;
  if (!line["messages"].is_array())
    return absl::InvalidArgumentError("\"messages\" must be a list");
  for (const json& m : line["messages"]) {
    if (!m.is_object()) return absl::InvalidArgumentError("a message must be an object");
    CATENA_ASSIGN_OR_RETURN(const auto role, GetString(m, "role", where));
    CATENA_ASSIGN_OR_RETURN(const auto content, GetString(m, "content", where));
    if (!role || !content) return absl::InvalidArgumentError("a message needs role and content");
    messages.push_back({.role = *role, .content = *content});
  }
  CATENA_ASSIGN_OR_RETURN(const ChatEnd end, ReadEnd(line, where));
  CATENA_ASSIGN_OR_RETURN(const std::string text, chat.Render(messages, end));
  CATENA_ASSIGN_OR_RETURN(const auto ids, model.tokenizer->Encode(text));
  return ordered_json{{"rendered", text}, {"ids", ids}};
}

absl::StatusOr<ordered_json> Answer(const json& line, const ModelOptions& options,
                                    const Model& model, const std::string& where) {
  const Tokenizer& tokenizer = *model.tokenizer;
  if (!line.is_object()) return absl::InvalidArgumentError("write one JSON object a line");
  if (line.contains("messages")) return Render(line, options, model, where);
  if (line.contains("ids")) {
    CATENA_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadIds(line["ids"]));
    return ordered_json{{"text", tokenizer.Decode(ids, false)},
                        {"text_skip_special", tokenizer.Decode(ids, true)}};
  }
  CATENA_ASSIGN_OR_RETURN(const auto text, GetString(line, "text", where));
  CATENA_ASSIGN_OR_RETURN(const auto base64, GetString(line, "bytes_b64", where));
  std::string bytes = text.value_or("");
  if (!text && (!base64 || !absl::Base64Unescape(*base64, &bytes))) {
    return absl::InvalidArgumentError("give \"text\", \"bytes_b64\", \"ids\" or \"messages\"");
  }
  CATENA_ASSIGN_OR_RETURN(const auto ids, tokenizer.Encode(bytes));
  return ordered_json{{"ids", ids}};
}

absl::Status RunTokenize(const ModelOptions& options) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModelShapes(options));
  if (model.tokenizer == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("{}: there is no tokenizer.json beside the model; add it", options.model));
  }
  std::string text;
  for (int64_t n = 1;; ++n) {
    const std::string where = fmt::format("line {}", n);
    const absl::StatusOr<bool> read = ReadLine(std::cin, &text);
    if (!read.ok()) return Annotate(read.status(), where);
    if (!*read) break;
    CATENA_ASSIGN_OR_RETURN(const json line, ParseJson(text, where, limits::kRequestLine));
    auto answer = Answer(line, options, model, where);
    if (!answer.ok()) return Annotate(answer.status(), where);
    CATENA_RETURN_IF_ERROR(WriteJson(*answer));
  }
  return absl::OkStatus();
}

}  // namespace

Action DeclareTokenize(App& app) {
  auto o = std::make_shared<ModelOptions>();
  o->Declare(app);
  o->DeclareChatTemplate(app);
  return [o] { return RunTokenize(*o); };
}

}  // namespace catena::cli
