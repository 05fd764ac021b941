#include "model/quantise/gguf_tokenizer.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/checkpoint_checks.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

// Tokens a, b and ab, in a model that has 64.
constexpr char kTokenizer[] =
    R"({"added_tokens": [], "normalizer": null, "post_processor": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})";

// `config`: tokenizer_config.json.
absl::StatusOr<GgufVocabulary> Describe(std::string_view config) {
  TempDir folder;
  folder.Write("config.json", kTinyConfig);
  folder.Write("tokenizer_config.json", config);
  const std::string path = folder.Write("tokenizer.json", kTokenizer);
  CATENA_ASSIGN_OR_RETURN(const auto checkpoint,
                          Checkpoint::Open(folder.path(), {.weights = "random:1"}));
  CATENA_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::FromTokenizerJson(kTokenizer, path));
  std::vector<std::string> warnings;
  return DescribeTokenizer(*checkpoint, *tokenizer, &warnings);
}

std::string WithAdded(int64_t id) {
  return fmt::format(
      R"({{"added_tokens_decoder": {{"{}": {{"content": "<z>", "special": true}}}}}})", id);
}

TEST(DescribeTokenizer, AddsWhatTokenizerConfigAdds) {
  const auto vocabulary = Describe(WithAdded(63));
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->tokens[63], "<z>");
}

TEST(DescribeTokenizer, RefusesAddedTokensWithoutRows) {
  for (const int64_t id : {64, 65, 1 << 20, 900'000'000}) {
    ExpectRefused(Describe(WithAdded(id)).status(), absl::StatusCode::kInvalidArgument,
                  {fmt::format("token {}", id), "64 rows"});
  }
}

}  // namespace
}  // namespace catena
