// The pre-tokenizers of public models, and what tells Oniguruma from PCRE2, on hostile texts: cut
// as huggingface/tokenizers cuts them (split_cases.jsonl, written by make_split_cases.py).
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/tokenizer/gguf_pre_tokenizer.h"
#include "model/tokenizer/pre_tokenizer_json.h"
#include "tests/model/tokenizer_test_data.h"

namespace catena {
namespace {

using nlohmann::json;

// The pieces of `text` whose sizes in bytes these are; where they are negative, bytes are dropped.
std::vector<std::string> Pieces(const std::string& text, const std::vector<int>& sizes) {
  std::vector<std::string> out;
  size_t at = 0;
  for (const int size : sizes) {
    if (size > 0) out.push_back(text.substr(at, static_cast<size_t>(size)));
    at += static_cast<size_t>(std::abs(size));
  }
  EXPECT_EQ(at, text.size());
  return out;
}

// A line of the file: a pre-tokenizer, and how it cuts each of the texts.
struct SplitCase {
  std::string name;
  json pre_tokenizer;
  std::vector<std::vector<int>> sizes;
};

class SplitCases : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path =
        std::string(std::getenv("CATENA_SOURCE")) + "/tests/model/split_cases.jsonl";
    std::ifstream file(path);
    std::string line;
    ASSERT_TRUE(std::getline(file, line)) << path;
    texts_ = json::parse(line)["texts"].get<std::vector<std::string>>();
    while (std::getline(file, line)) {
      const json c = json::parse(line);
      cases_.push_back({c["name"], c["pre_tokenizer"], c["sizes"]});
    }
    ASSERT_GT(cases_.size(), 40u);
  }

  void ExpectCut(const PreTokenizer& pre_tokenizer, const SplitCase& c) {
    for (size_t i = 0; i < texts_.size(); ++i) {
      PreTokenizer::Workspace workspace(texts_[i].size());
      std::vector<std::string> pieces;
      const absl::Status status = pre_tokenizer.Split(
          texts_[i], true, &workspace, [&](std::string_view piece) { pieces.emplace_back(piece); });
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(pieces, Pieces(texts_[i], c.sizes[i])) << c.name;
    }
  }

  std::vector<std::string> texts_;
  std::vector<SplitCase> cases_;
};

TEST_F(SplitCases, TextsAreCutAsTheReferenceCutsThem) {
  for (const SplitCase& c : cases_) {
    const auto parts = ReadPreTokenizer(c.pre_tokenizer, {c.name, "pre_tokenizer"});
    ASSERT_TRUE(parts.ok()) << parts.status();
    ExpectCut(parts->pre_tokenizer, c);
  }
}

TEST_F(SplitCases, TheNamesOfGgufFilesMeanTheSamePatterns) {
  const std::map<std::string, std::string> names = {{"cl100k", "llama-bpe"},
                                                    {"o200k", "gpt-4o"},
                                                    {"tekken", "tekken"},
                                                    {"qwen3.5", "qwen35"},
                                                    {"kimi-k2", "kimi-k2"},
                                                    {"seed-coder", "seed-coder"},
                                                    {"exaone-moe", "exaone-moe"},
                                                    {"bloom", "bloom"},
                                                    {"deepseek-llm", "deepseek-llm"},
                                                    {"deepseek-coder", "deepseek-coder"},
                                                    {"deepseek-v3", "deepseek-v3"},
                                                    {"starcoder", "starcoder"},
                                                    {"olmo", "olmo"}};
  size_t found = 0;
  for (const SplitCase& c : cases_) {
    const auto name = names.find(c.name);
    if (name == names.end()) continue;
    ++found;
    const auto made = MakeGgufPreTokenizer(name->second, false, "t.gguf");
    ASSERT_TRUE(made.ok()) << made.status();
    ExpectCut(made->pre_tokenizer, c);
  }
  EXPECT_EQ(found, names.size());
}

}  // namespace
}  // namespace catena
