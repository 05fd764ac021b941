// Runs one tokenizer over lines of JSON, for tokenizer_oracle.py and chat_oracle.py. Not installed.
//
//   tokenizer_tool tokenizer.json     {"text": T} or {"bytes_b64": B} -> {"ids"}
//                                     {"ids": I} -> {"text", "text_skip_special", "chunks"}
//   tokenizer_tool --chat             {"template": J, "bos", "eos", "messages",
//                                     "add_generation_prompt"} -> {"rendered"}
#include <iostream>
#include <string>

#include "model/chat/chat_template.h"
#include "tests/model/tokenizer_test_data.h"

namespace catena {
namespace {

using nlohmann::json;

json Answer(const Tokenizer& tokenizer, const json& request) {
  if (request.contains("ids")) {
    const auto ids = request["ids"].get<std::vector<int32_t>>();
    return {{"text", tokenizer.Decode(ids, false)},
            {"text_skip_special", tokenizer.Decode(ids, true)},
            {"chunks", StreamChunks(tokenizer, ids, false)}};
  }
  const bool raw = request.contains("bytes_b64");
  const std::string text =
      raw ? DecodeBase64(request["bytes_b64"]) : request["text"].get<std::string>();
  const auto ids = tokenizer.Encode(text);
  return ids.ok() ? json{{"ids", *ids}} : json{{"error", ids.status().ToString()}};
}

json RenderChat(const json& request) {
  const auto chat =
      ChatTemplate::Parse(request["template"].get<std::string>(), request["bos"].get<std::string>(),
                          request["eos"].get<std::string>());
  if (!chat.ok()) return {{"error", chat.status().ToString()}};
  std::vector<ChatMessage> messages;
  for (const json& m : request["messages"]) messages.push_back({m["role"], m["content"]});
  const auto rendered = chat->Render(messages, request["add_generation_prompt"].get<bool>()
                                                   ? ChatEnd::kGenerationPrompt
                                                   : ChatEnd::kClosed);
  if (!rendered.ok()) return {{"error", rendered.status().ToString()}};
  return {{"rendered", *rendered}};
}

int Main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_tool tokenizer.json|--chat\n";
    return 1;
  }
  const bool chat = argv[1] == std::string_view("--chat");
  for (std::string line; chat && std::getline(std::cin, line);) {
    std::cout << RenderChat(json::parse(line)).dump(-1, ' ', true) << "\n";
  }
  if (chat) return 0;
  const auto tokenizer = Tokenizer::FromTokenizerJson(ReadFileText(argv[1]), argv[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Answer(**tokenizer, json::parse(line)).dump(-1, ' ', true) << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace catena

int main(int argc, char** argv) { return catena::Main(argc, argv); }
