// Chat templates: the models' own, those with names, and Phi-3's cases from the reference.
// tests/model/chat_oracle.py holds every template against jinja2.
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
  const auto chat = ChatTemplate::Parse(text, "<s>", "<|endoftext|>");
  ASSERT_TRUE(chat.ok()) << chat.status();
  const auto cases = ReadCases("phi3/phi3_mini_chat.jsonl");
  ASSERT_GE(cases.size(), 22u);
  for (const auto& c : cases) {
    const auto rendered = chat->Render(
        Messages(c["messages"]),
        c["add_generation_prompt"].get<bool>() ? ChatEnd::kGenerationPrompt : ChatEnd::kClosed);
    ASSERT_TRUE(rendered.ok()) << rendered.status();
    EXPECT_EQ(*rendered, c["rendered"]);
    EXPECT_EQ(*tokenizer->Encode(*rendered), c["ids"].get<std::vector<int32_t>>()) << *rendered;
  }
}

TEST(ChatTemplate, TheDefaultModelsOwnTemplateIsTheOneOfItsName) {
  const std::string path = SmolLm2Path();
  if (path.empty()) GTEST_SKIP() << kNoSmolLm2;
  const auto checkpoint = Checkpoint::Open(path, {});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto chat = ChatTemplate::Parse((*checkpoint)->tokenizer_config().chat_template,
                                        (*checkpoint)->tokenizer_config().bos_token,
                                        (*checkpoint)->tokenizer_config().eos_token);
  ASSERT_TRUE(chat.ok()) << chat.status();
  const List hi = {{"user", "Hi"}};
  EXPECT_EQ(*chat->Render(hi, ChatEnd::kGenerationPrompt),
            *ChatTemplate::ByName("smollm2", "", "")->Render(hi, ChatEnd::kGenerationPrompt));
  EXPECT_EQ(*chat->Render(hi, ChatEnd::kGenerationPrompt),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, WhatCannotBeInterpretedIsAnErrorThatNamesTheFlagAndTheNames) {
  for (const char* text : {"", "{{ messages ", "{% include 'x' %}", "{{ x | frobnicate }}"}) {
    const auto chat = ChatTemplate::Parse(text, "", "");
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
    EXPECT_THAT(*chat->Render(List{{"user", "Hello"}}, ChatEnd::kClosed), HasSubstr("Hello"));
  }
}

TEST(ChatTemplate, TheFirstPhi3TemplateWritesItsBosAndIgnoresSystemMessages) {
  const auto chat = ChatTemplate::ByName("phi3-2024-04", "<s>", "<|endoftext|>");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(*chat->Render(List{{"system", "S"}, {"user", "U"}, {"assistant", "A"}, {"user", "V"}},
                          ChatEnd::kGenerationPrompt),
            "<s><|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nV<|end|>\n<|assistant|>\n");
}

TEST(ChatTemplate, Llama3TrimsContentsAndWritesABosBeforeTheFirstMessage) {
  const auto chat = ChatTemplate::ByName("llama3", "<|begin_of_text|>", "");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(*chat->Render(List{{"user", " \u3000hi\n"}}, ChatEnd::kGenerationPrompt),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(*chat->Render(List{}, ChatEnd::kClosed), "");
}

TEST(ChatTemplate, WhatIsNotUtf8CountsAsTheReplacementCharacterAsInACluster) {
  const auto chat = ChatTemplate::ByName("chatml", "", "");
  EXPECT_EQ(*chat->Render(List{{"user", "a\xFF\xC3"}, {"\xC3", "b"}}, ChatEnd::kClosed),
            "<|im_start|>user\na\uFFFD\uFFFD<|im_end|>\n<|im_start|>\uFFFD\nb<|im_end|>\n");
}

TEST(ChatTemplate, AnAnswerThatWasBegunGoesOn) {
  const List begun = {{"user", "U"}, {"assistant", "It is "}};
  const struct {
    const char *name, *text;
  } table[] = {
      {"chatml", "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nIt is "},
      {"phi3", "<|user|>\nU<|end|>\n<|assistant|>\nIt is "},
      {"phi3-2024-04", "<s><|user|>\nU<|end|>\n<|assistant|>\nIt is "},
      {"phi3-small", "<s><|user|>\nU<|end|>\n<|assistant|>\nIt is "},
      {"phi3.5", "<|user|>\nU<|end|>\n<|assistant|>\nIt is "},
      {"phi4-mini", "<|user|>U<|end|><|assistant|>It is "},
      // Its template trims.
      {"llama3",
       "<s><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>"
       "<|start_header_id|>assistant<|end_header_id|>\n\nIt is"},
  };
  for (const auto& row : table) {
    const auto chat = ChatTemplate::ByName(row.name, "<s>", "</s>");
    ASSERT_TRUE(chat.ok()) << row.name;
    EXPECT_EQ(*chat->Render(begun, ChatEnd::kFinalMessage), row.text) << row.name;
    EXPECT_EQ(*chat->Render(ChatPrompt{begun, true}), row.text) << row.name;
  }
  for (const std::string_view name : ChatTemplate::Names()) {  // and in every other, before its end
    const auto chat = ChatTemplate::ByName(name, "<s>", "</s>");
    const std::string open = *chat->Render(begun, ChatEnd::kFinalMessage);
    EXPECT_TRUE(chat->Render(begun, ChatEnd::kClosed)->starts_with(open)) << name;
    EXPECT_THAT(open, ::testing::EndsWith(name == "llama3" ? "It is" : "It is ")) << name;
  }
}

TEST(ChatTemplate, OnlyAnAnswerGoesOn) {
  const auto chat = ChatTemplate::ByName("chatml", "", "");
  for (const List& none : {List{}, List{{"user", "U"}}, List{{"assistant", "A"}, {"user", "U"}}}) {
    const absl::Status status = chat->Render(none, ChatEnd::kFinalMessage).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(Message(status)), HasSubstr("assistant"));
  }
}

// As transformers' continue_final_message.
TEST(ChatTemplate, AnAnswerThatGoesOnIsWhatItsTemplateWritesOfIt) {
  const auto end = [&](const char* name, const char* content) {
    const auto chat = ChatTemplate::ByName(name, "", "<|endoftext|>");
    const std::string text = *chat->Render(List{{"assistant", content}}, ChatEnd::kFinalMessage);
    return text.substr(text.rfind('\n') + 1);
  };
  EXPECT_EQ(end("chatml", "a "), "a ");
  EXPECT_EQ(end("chatml", " a "), " a ");
  EXPECT_EQ(end("chatml", ""), "");
  EXPECT_EQ(end("phi3", "e"), "e");  // which is in the EOS as well
  EXPECT_EQ(end("llama3", " a "), "a");
  const auto blind = ChatTemplate::Parse("{{ messages | length }}", "", "");
  EXPECT_THAT(std::string(Message(
                  blind->Render(List{{"assistant", "a"}}, ChatEnd::kFinalMessage).status())),
              HasSubstr("cannot go on"));
}

}  // namespace
}  // namespace catena
