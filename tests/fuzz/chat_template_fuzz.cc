// Any bytes as a chat template: it is refused, or renders some messages within its limits.
#include <cstdint>
#include <string>

#include "kernels/base/status.h"
#include "model/chat/chat_template.h"
#include "model/tokenizer/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace catena;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto chat = ChatTemplate::Parse(bytes, "<s>", "</s>");
  if (!chat.ok()) return 0;
  const std::vector<ChatMessage> messages = {
      {"system", "Be  brief."}, {"user", " \xC3\x89t\xC3\xA9 {{ 1 }}\n"}, {"assistant", "a,b "}};
  for (const ChatEnd end : {ChatEnd::kClosed, ChatEnd::kGenerationPrompt, ChatEnd::kFinalMessage}) {
    const auto text = chat->Render(messages, end);
    CATENA_CHECK(!text.ok() || IsValidUtf8(*text));
  }
  return 0;
}
