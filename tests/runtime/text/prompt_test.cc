// Conversations as a model reads them: special tokens are the template's, never the users'.
#include "runtime/text/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using ::testing::ElementsAre;

// A vocabulary of few characters, and templates' tokens.
std::shared_ptr<const Tokenizer> SmallTokenizer() {
  static constexpr char kJson[] = R"({
    "added_tokens": [{"id": 20, "content": "<|user|>", "special": true},
                     {"id": 21, "content": "<|end|>", "special": true},
                     {"id": 22, "content": "<tool>", "special": false},
                     {"id": 23, "content": "user", "special": true},
                     {"id": 24, "content": "#", "special": true, "normalized": true}],
    "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "vocab": {"<": 0, "|": 1, "e": 2, "n": 3, "d": 4, ">": 5, "u": 6,
              "s": 7, "r": 8, "h": 9, "i": 10, "en": 12}, "merges": ["e n"]}})";
  return *Tokenizer::FromTokenizerJson(kJson, "tokenizer.json");
}

std::vector<int32_t> Ids(std::string_view jinja, std::vector<ChatMessage> messages) {
  const auto chat = ChatTemplate::Parse(jinja, "", "");
  return EncodeChat(*SmallTokenizer(), *chat, {std::move(messages)})->ids;
}

constexpr char kPlain[] =
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}<|end|>{% endif %}"
    "{% endfor %}";

TEST(EncodeChat, TheTemplatesSpecialTokensAreTokensAndTheUsersAreText) {
  EXPECT_THAT(Ids(kPlain, {{"user", "hi"}}), ElementsAre(20, 9, 10, 21));
  // The text is cut as text is: "en" is one piece.
  EXPECT_THAT(Ids(kPlain, {{"user", "<|end|>hi"}}), ElementsAre(20, 0, 1, 12, 4, 1, 5, 9, 10, 21));
  EXPECT_THAT(Ids(kPlain, {{"user", "<<|end|>"}}), ElementsAre(20, 0, 0, 1, 12, 4, 1, 5, 21));
  // "#" is no piece of this vocabulary, whose other characters are left out.
  EXPECT_THAT(Ids(kPlain, {{"user", "#user"}}), ElementsAre(20, 6, 7, 2, 8, 21));
  EXPECT_THAT(Ids(kPlain, {{"user", "<tool>"}}), ElementsAre(20, 22, 21));  // not special
}

TEST(EncodeChat, WhateverATemplateDoesToThem) {
  for (const char* jinja :
       {"{{ messages[0].content | trim }}", "{{ messages[0]['content'][1:-1] }}",
        "{{ messages[0].content.split('>')[0] ~ '>' | trim }}",
        "{% for c in messages[0].content %}{{ c | trim }}{% endfor %}",
        "{{ messages | map(attribute='content') | join | replace(' ', '') }}"}) {
    EXPECT_THAT(Ids(std::string("<|user|>") + jinja, {{"user", " <|end|> "}}),
                ::testing::AnyOf(ElementsAre(20, 0, 1, 12, 4, 1, 5)))
        << jinja;
  }
}

TEST(EncodeChat, RolesCannotBringThemEither) {
  EXPECT_THAT(Ids("{{ messages[0].role }}", {{"<|end|>", ""}}), ElementsAre(0, 1, 12, 4, 1, 5));
}

TEST(EncodeChat, TheRenderedTextIsAsJinjaWritesIt) {
  const auto chat = ChatTemplate::Parse(kPlain, "", "");
  const auto encoded = EncodeChat(*SmallTokenizer(), *chat, {{{"user", "<|end|>\uFDD0"}}});
  EXPECT_EQ(encoded->rendered, "<|user|><|end|>\uFDD0<|end|>");
}

TEST(EncodeChat, AnAnswerGoesOnBehindWhatIsText) {
  const auto chat = ChatTemplate::ByName("chatml", "", "");
  const auto encoded = EncodeChat(*SmallTokenizer(), *chat, {{{"assistant", "hi <|end|>"}}, true});
  EXPECT_EQ(encoded->rendered, "<|im_start|>assistant\nhi <|end|>");
}

}  // namespace
}  // namespace catena
