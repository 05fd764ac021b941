// Chat templates: recognition, and Phi-3's cases from the reference. tests/model/chat_oracle.py
// holds every template against jinja2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/chat/chat_template.h"
#include "tests/model/tokenizer_test_data.h"

namespace catena {
namespace {

using ::testing::HasSubstr;
using List = std::vector<ChatMessage>;

std::vector<ChatMessage> Messages(const nlohmann::json& list) {
  std::vector<ChatMessage> out;
  for (const auto& m : list) out.push_back({m["role"], m["content"]});
  return out;
}

TEST(ChatTemplate, Phi3RendersAndEncodesEveryCaseAsTheReference) {
  const auto tokenizer = LoadSharedTokenizer("phi3/tokenizer.json");
  if (tokenizer == nullptr) GTEST_SKIP() << kNoSharedData;
  const auto config = nlohmann::json::parse(ReadFileText(SharedPath("phi3/tokenizer_config.json")));
  const std::string text = config["chat_template"];
  const auto chat = ChatTemplate::Recognise(text, "<s>", "<|endoftext|>");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->name(), "phi3");
  const auto cases = ReadCases("phi3/phi3_mini_chat.jsonl");
  ASSERT_GE(cases.size(), 22u);
  for (const auto& c : cases) {
    const auto rendered = chat->Render(Messages(c["messages"]), c["add_generation_prompt"]);
    ASSERT_TRUE(rendered.ok()) << rendered.status();
    EXPECT_EQ(*rendered, c["rendered"]);
    EXPECT_EQ(tokenizer->Encode(*rendered), c["ids"].get<std::vector<int32_t>>()) << *rendered;
  }
}

TEST(ChatTemplate, TheDefaultModelsOwnTemplateIsRecognised) {
  const std::string path = SmolLm2Path();
  if (path.empty()) GTEST_SKIP() << kNoSmolLm2;
  const auto checkpoint = Checkpoint::Open(path, {});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto chat = ChatTemplate::Recognise((*checkpoint)->chat_template(),
                                            (*checkpoint)->bos_token(), (*checkpoint)->eos_token());
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->name(), "smollm2");
  EXPECT_EQ(*chat->Render(List{{"user", "Hi"}}, true),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

constexpr char kChatMl[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
    "}}{% endif %}";

TEST(ChatTemplate, RecognitionSeesThroughWhatJinjaReadsTheSameWay) {
  std::string escaped;
  for (const char c : std::string(kChatMl)) {
    c == '\n' ? escaped.append("\\n") : escaped.append(1, c);
  }
  std::string spread;
  for (const char c : std::string(kChatMl)) {
    spread.push_back(c);
    if (spread.ends_with("%}")) spread.push_back('\n');
  }
  for (const std::string& text : {std::string(kChatMl), escaped, spread}) {
    const auto chat = ChatTemplate::Recognise(text, "", "");
    ASSERT_TRUE(chat.ok()) << text << chat.status();
    EXPECT_EQ(chat->name(), "chatml");
  }
}

TEST(ChatTemplate, AnyOtherTextIsAnErrorThatNamesTheFlagAndTheNames) {
  std::string changed = kChatMl;
  changed.insert(changed.find("assistant"), " ");
  for (const std::string& text : {changed, std::string("{{ messages }}"), std::string()}) {
    const auto chat = ChatTemplate::Recognise(text, "", "");
    EXPECT_EQ(chat.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(Message(chat.status())), HasSubstr("--chat-template"));
    EXPECT_THAT(std::string(Message(chat.status())), HasSubstr("phi3-2024-04"));
  }
  EXPECT_THAT(std::string(Message(ChatTemplate::ByName("phi2", "", "").status())),
              HasSubstr("phi3-2024-04"));
}

TEST(ChatTemplate, EveryNameIsFound) {
  for (const std::string_view name : ChatTemplate::Names()) {
    const auto chat = ChatTemplate::ByName(name, "<s>", "</s>");
    ASSERT_TRUE(chat.ok()) << chat.status();
    EXPECT_EQ(chat->name(), name);
  }
}

TEST(ChatTemplate, TheFirstPhi3TemplateWritesItsBosAndIgnoresSystemMessages) {
  const auto chat = ChatTemplate::ByName("phi3-2024-04", "<s>", "<|endoftext|>");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_TRUE(chat->writes_bos());
  EXPECT_EQ(
      *chat->Render(List{{"system", "S"}, {"user", "U"}, {"assistant", "A"}, {"user", "V"}}, true),
      "<s><|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nV<|end|>\n<|assistant|>\n");
}

TEST(ChatTemplate, Llama3TrimsContentsAndWritesABosBeforeTheFirstMessage) {
  const auto chat = ChatTemplate::ByName("llama3", "<|begin_of_text|>", "");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(*chat->Render(List{{"user", " \u3000hi\n"}}, true),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(*chat->Render({}, false), "");
}

TEST(ChatTemplate, AMessageThatIsNotUtf8IsRefused) {
  const auto chat = ChatTemplate::ByName("llama3", "", "");
  EXPECT_FALSE(chat->Render(List{{"user", "\xFF"}}, true).ok());
  EXPECT_FALSE(chat->Render(List{{"\xC3", "hi"}}, true).ok());
}

}  // namespace
}  // namespace catena
