#include "model/quantise/gguf_tokenizer.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/json.h"
#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/gguf_pre_tokenizer.h"
#include "tests/model/checkpoint_checks.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

using nlohmann::json;

// A folder of a model of so many tokens with this tokenizer.json and tokenizer_config.json.
class Folder {
 public:
  Folder(int64_t rows, const json& tokenizer, std::string_view config = "{}") {
    json model = json::parse(kTinyConfig);
    model["vocab_size"] = rows;
    dir_.Write("config.json", model.dump());
    dir_.Write("tokenizer_config.json", config);
    const std::string path = dir_.Write("tokenizer.json", tokenizer.dump());
    checkpoint_ = *Checkpoint::Open(dir_.path(), {.weights = "random:1"});
    tokenizer_ = *Tokenizer::FromTokenizerJson(tokenizer.dump(), path);
  }

  // As though the folder's tokenizer were `tokenizer`; null: as it is.
  absl::StatusOr<GgufVocabulary> Describe(const Tokenizer* tokenizer = nullptr) const {
    std::vector<std::string> warnings;
    return DescribeTokenizer(*checkpoint_, tokenizer == nullptr ? *tokenizer_ : *tokenizer,
                             &warnings);
  }

 private:
  TempDir dir_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

json TokenizerJson(const std::vector<std::string>& tokens, const std::vector<std::string>& merges) {
  json tokenizer = {
      {"added_tokens", json::array()},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"merges", merges}}}};
  for (const std::string& token : tokens) {
    json& vocab = tokenizer["model"]["vocab"];
    vocab[token] = vocab.size();
  }
  return tokenizer;
}

Folder WithAdded(int64_t id) {
  return {64, TokenizerJson({"a", "b", "ab"}, {"a b"}),
          fmt::format(R"({{"added_tokens_decoder": {{"{}": {{"content": "<z>"}}}}}})", id)};
}

TEST(DescribeTokenizer, AddsWhatTokenizerConfigAdds) {
  const auto vocabulary = WithAdded(63).Describe();
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->tokens[63], "<z>");
}

TEST(DescribeTokenizer, RefusesAddedTokensWithoutRows) {
  for (const int64_t id : {64, 65, 1 << 20, 900'000'000}) {
    ExpectRefused(WithAdded(id).Describe().status(), absl::StatusCode::kInvalidArgument,
                  {fmt::format("token {}", id), "64 rows"});
  }
}

// Every byte; any two that scripts, white space and signs have, and three spaces, so that each cut
// shows; and a token that no merge makes.
Folder OfPairs() {
  const auto letter = [](uint8_t byte) {
    std::string text;
    AppendByteLevelEncoded({reinterpret_cast<const char*>(&byte), 1}, &text);
    return text;
  };
  std::vector<std::string> tokens, merges;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(letter(static_cast<uint8_t>(byte)));
  const std::string_view kPaired = "aAsS 1\n\r\t'/!$`.,(_<I你の한é\u0301٣";
  const std::set<char> paired(kPaired.begin(), kPaired.end());
  for (const char a : paired) {
    for (const char b : paired) {
      const std::string left = letter(static_cast<uint8_t>(a)),
                        right = letter(static_cast<uint8_t>(b));
      tokens.push_back(left + right);
      merges.push_back(left + " " + right);
    }
  }
  const std::string space = letter(' ');
  tokens.insert(tokens.end(), {space + space + space, "qzx"});
  merges.push_back(space + space + " " + space);
  return {static_cast<int64_t>(tokens.size()), TokenizerJson(tokens, merges)};
}

TEST(DescribeTokenizer, FindsEachRule) {
  const Folder folder = OfPairs();
  auto vocabulary = folder.Describe();
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->pre, "gpt-2");
  for (const std::string_view rule : GgufPreTokenizerRules()) {
    vocabulary->pre = rule;
    const auto found = folder.Describe(Tokenizer::FromGguf(*vocabulary, "t.gguf")->get());
    ASSERT_TRUE(found.ok()) << rule << ": " << found.status();
    // BailingMoE's pattern is another spelling of Qwen 2's.
    EXPECT_EQ(found->pre, rule == "bailingmoe" ? "qwen2" : rule);
  }
}

}  // namespace
}  // namespace catena
