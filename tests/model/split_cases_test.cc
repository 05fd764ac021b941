// The pre-tokenizers of public models, and what tells Oniguruma from PCRE2, on hostile texts: cut
// as huggingface/tokenizers cuts them (split_cases.jsonl, written by make_split_cases.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(SplitCases, TextsAreCutAsTheReferenceCutsThem) {
  const std::string path =
      std::string(std::getenv("CATENA_SOURCE")) + "/tests/model/split_cases.jsonl";
  std::ifstream file(path);
  std::string line;
  ASSERT_TRUE(std::getline(file, line)) << path;
  const auto texts = json::parse(line)["texts"].get<std::vector<std::string>>();
  int cases = 0;
  for (; std::getline(file, line); ++cases) {
    const json c = json::parse(line);
    SCOPED_TRACE(c["name"].get<std::string>());
    const auto parts = ReadPreTokenizer(c["pre_tokenizer"], {path, "pre_tokenizer"});
    ASSERT_TRUE(parts.ok()) << parts.status();
    for (size_t i = 0; i < texts.size(); ++i) {
      PreTokenizer::Workspace workspace(texts[i].size());
      std::vector<std::string> pieces;
      const absl::Status status = parts->pre_tokenizer.Split(
          texts[i], true, &workspace, [&](std::string_view piece) { pieces.emplace_back(piece); });
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(pieces, Pieces(texts[i], c["sizes"][i].get<std::vector<int>>()));
    }
  }
  EXPECT_GT(cases, 40);
}

}  // namespace
}  // namespace catena
