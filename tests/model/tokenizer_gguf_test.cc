// Tokenizers from GGUF vocabularies: the default model's own, and Phi-3's made from its
// tokenizer.model as the converter of llama.cpp makes it.
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/tokenizer_test_data.h"

namespace catena {
namespace {

using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

// A reader of just so much of the protobuf format as sentencepiece_model.proto's pieces need.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}
  // The next field's number and payload (of a fixed32 its bytes); false at the end.
  bool Next(uint64_t* field, std::string_view* payload, uint64_t* value) {
    if (bytes_.empty()) return false;
    const uint64_t key = Varint();
    *field = key >> 3;
    size_t size = 0;
    switch (key & 7) {
      case 0:
        *value = Varint();
        break;
      case 2:
        size = Varint();
        break;
      case 5:
        size = 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return false;
    }
    *payload = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return true;
  }

 private:
  uint64_t Varint() {
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
      const auto b = static_cast<uint8_t>(bytes_.front());
      bytes_.remove_prefix(1);
      v |= static_cast<uint64_t>(b & 0x7F) << shift;
      if (b < 0x80) return v;
    }
  }
  std::string_view bytes_;
};

void AddPiece(std::string_view message, GgufVocabulary* v) {
  std::string text;
  float score = 0;
  int32_t type = 1;
  WireReader reader(message);
  uint64_t field = 0, value = 0;
  for (std::string_view payload; reader.Next(&field, &payload, &value);) {
    if (field == 1) text = payload;
    if (field == 2) std::memcpy(&score, payload.data(), 4);
    if (field == 3) type = static_cast<int32_t>(value);
  }
  v->tokens.push_back(text);
  v->scores.push_back(score);
  v->types.push_back(type);
}

// What convert_hf_to_gguf.py writes for Phi-3: the pieces, then added tokens in their place
// (control where special, else user-defined), then padding to 32064.
GgufVocabulary Phi3Gguf() {
  GgufVocabulary v;
  v.model = "llama";
  const std::string model = ReadFileText(SharedPath("phi3/tokenizer.model"));
  WireReader reader(model);
  uint64_t field = 0, value = 0;
  for (std::string_view payload; reader.Next(&field, &payload, &value);) {
    if (field == 1) AddPiece(payload, &v);
  }
  const auto json = nlohmann::json::parse(ReadFileText(SharedPath("phi3/tokenizer.json")));
  for (int id = static_cast<int>(v.tokens.size()); id < 32064; ++id) {
    v.tokens.push_back(fmt::format("[PAD{}]", id));
    v.scores.push_back(-1000);
    v.types.push_back(5);
  }
  for (const auto& t : json["added_tokens"]) {
    const int id = t["id"];
    v.tokens[id] = t["content"];
    if (v.types[id] != 2) v.types[id] = t["special"] ? 3 : 4;
  }
  v.bos_id = 1;
  v.eos_id = 32000;
  v.unk_id = 0;
  return v;
}

TEST(GgufTokenizer, Phi3FromScoresEncodesEveryCaseAsItsTokenizerJson) {
  if (SharedPath("phi3/tokenizer.model").empty()) GTEST_SKIP() << kNoSharedData;
  const auto tokenizer = Tokenizer::FromGguf(Phi3Gguf(), "phi3.gguf");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto cases = ReadCases("phi3/phi3_mini_encode.jsonl");
  ASSERT_GE(cases.size(), 138u);
  for (const auto& c : cases) {
    const Ids ids = *(*tokenizer)->Encode(c["text"].get<std::string>());
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ((*tokenizer)->Decode(ids, false), c["decoded"]) << c["text"];
    EXPECT_EQ((*tokenizer)->Decode(ids, true), c["decoded_skip_special"]) << c["text"];
  }
  for (const auto& c : ReadCases("phi3/phi3_mini_decode.jsonl")) {
    EXPECT_EQ((*tokenizer)->Decode(c["ids"].get<Ids>(), true), c["text_skip_special"]);
  }
  EXPECT_EQ((*tokenizer)->Decode(Ids{32011, 32063}, false), "");  // padding
  EXPECT_TRUE((*tokenizer)->add_bos());                           // where the file is silent
  EXPECT_EQ((*tokenizer)->bos_id(), 1);
}

// The default model's file, or null.
std::shared_ptr<const Tokenizer> SmolLm2() {
  const std::string path = SmolLm2Path();
  if (path.empty()) return nullptr;
  const auto checkpoint = Checkpoint::Open(path, {});
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  if (!checkpoint.ok()) return nullptr;
  const auto tokenizer = Tokenizer::FromCheckpoint(**checkpoint);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

TEST(GgufTokenizer, SmolLm2EncodesAndDecodesEveryCaseAsTheReference) {
  const auto tokenizer = SmolLm2();
  if (tokenizer == nullptr) GTEST_SKIP() << kNoSmolLm2;
  const auto cases = ReadCases("smollm2/smollm2_encode.jsonl");
  if (cases.empty()) GTEST_SKIP() << kNoSharedData;
  ASSERT_GE(cases.size(), 148u);
  for (const auto& c : cases) {
    const Ids ids = *tokenizer->Encode(c["text"].get<std::string>());
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(tokenizer->Decode(ids, false), c["decoded"]) << c["text"];
    EXPECT_EQ(tokenizer->Decode(ids, true), c["decoded_skip_special"]) << c["text"];
    EXPECT_EQ(Join(StreamChunks(*tokenizer, ids, true)), c["decoded_skip_special"]) << c["text"];
  }
}

TEST(GgufTokenizer, SmolLm2NamesItsTokensAndAddsNoBos) {
  const auto tokenizer = SmolLm2();
  if (tokenizer == nullptr) GTEST_SKIP() << kNoSmolLm2;
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
  EXPECT_EQ(tokenizer->IdOf("<|im_end|>"), 2);
  EXPECT_TRUE(tokenizer->IsSpecial(16));
  EXPECT_FALSE(tokenizer->IsSpecial(17));
  EXPECT_FALSE(tokenizer->add_bos());
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->Piece(19556), "Hello");
  EXPECT_EQ(tokenizer->Piece(905), " world");
}

TEST(GgufTokenizer, SmolLm2DropsBytesThatItHasNoSymbolFor) {
  const auto tokenizer = SmolLm2();
  if (tokenizer == nullptr) GTEST_SKIP() << kNoSmolLm2;
  EXPECT_EQ(tokenizer->Decode(*tokenizer->Encode("a\x04\x06"
                                                 "b"),
                              false),
            "ab");
}

GgufVocabulary Tiny() {
  GgufVocabulary v;
  v.model = "gpt2";
  v.pre = "gpt-2";
  v.tokens = {"a", "b", "ab", "<s>"};
  v.types = {1, 1, 1, 3};
  v.merges = {"a b"};
  return v;
}

TEST(GgufTokenizer, ATinyVocabularyMerges) {
  const auto t = Tokenizer::FromGguf(Tiny(), "t.gguf");
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ(*(*t)->Encode("abba<s>b"), (Ids{2, 1, 0, 3, 1}));
}

TEST(GgufTokenizer, WhatEndsATextIsHiddenWhateverItsType) {
  GgufVocabulary v = Tiny();
  v.types = {1, 1, 1, 4};
  v.end_ids = {3};
  const auto by_text = Tokenizer::FromGguf(v, "t.gguf");
  EXPECT_EQ((*by_text)->Decode(Ids{2, 3}, true), "ab");
  EXPECT_EQ((*by_text)->Decode(Ids{2, 3}, false), "ab<s>");
  EXPECT_EQ((*by_text)->end_ids().size(), 1u);
  const auto by_id = Tokenizer::FromGguf(Tiny(), "t.gguf", Ids{1});
  EXPECT_EQ((*by_id)->Decode(Ids{2, 1}, true), "ab");
  EXPECT_EQ(*(*by_id)->Encode("b"), (Ids{1}));  // but text stays text
}

// llama.cpp's names of patterns that are here, told apart by how they cut "x1234 y" and "DON'T".
TEST(GgufTokenizer, KnowsThePatternsUnderAllTheirNames) {
  const auto cut = [](const char* pre) {
    GgufVocabulary v;
    v.model = "gpt2";
    v.pre = pre;
    // "12" shows digits in runs, "123" more than two; "'T" contractions without case.
    v.tokens = {"1", "2", "3", "4", "12", "123", "1234", "'", "T", "'T"};
    v.merges = {"1 2", "12 3", "123 4", "' T"};
    const auto t = Tokenizer::FromGguf(v, "t.gguf");
    EXPECT_TRUE(t.ok()) << pre << ": " << t.status();
    return t.ok() ? std::pair(*(*t)->Encode("1234"), *(*t)->Encode("'T")) : std::pair<Ids, Ids>();
  };
  const Ids run = {6}, threes = {5, 3}, alone = {0, 1, 2, 3}, apart = {7, 8}, joined = {9};
  for (const char* pre : {"gpt-2", "phi-2", "mpt", "olmo"}) {
    EXPECT_EQ(cut(pre), std::pair(run, apart)) << pre;
  }
  for (const char* pre : {"default", "", "falcon"}) {
    EXPECT_EQ(cut(pre), std::pair(threes, apart)) << pre;
  }
  for (const char* pre : {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"}) {
    EXPECT_EQ(cut(pre), std::pair(alone, apart)) << pre;
  }
  for (const char* pre : {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral",
                          "midm-2.0", "lfm2", "dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}) {
    EXPECT_EQ(cut(pre), std::pair(threes, joined)) << pre;
  }
  for (const char* pre : {"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan"}) {
    EXPECT_EQ(cut(pre), std::pair(alone, joined)) << pre;
  }
}

TEST(GgufTokenizer, SaysWhatIsNotSupportedOrDamaged) {
  const auto error = [](const GgufVocabulary& v) {
    const auto t = Tokenizer::FromGguf(v, "f.gguf");
    EXPECT_FALSE(t.ok());
    EXPECT_THAT(std::string(Message(t.status())), HasSubstr("f.gguf"));
    return t.status();
  };
  GgufVocabulary v = Tiny();
  v.pre = "afmoe";
  EXPECT_EQ(error(v).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(error(v))), HasSubstr("llama-bpe"));
  v = Tiny();
  v.model = "bert";
  EXPECT_EQ(error(v).code(), absl::StatusCode::kInvalidArgument);
  v = Tiny();
  v.merges.push_back("a c");
  EXPECT_EQ(error(v).code(), absl::StatusCode::kDataLoss);
  v.merges.back() = "a";
  EXPECT_EQ(error(v).code(), absl::StatusCode::kDataLoss);
  v = Tiny();
  v.tokens.clear();
  EXPECT_EQ(error(v).code(), absl::StatusCode::kDataLoss);
  v = Tiny();
  v.types.pop_back();
  EXPECT_EQ(error(v).code(), absl::StatusCode::kDataLoss);
  v = Tiny();
  v.model = "llama";  // without scores
  EXPECT_EQ(error(v).code(), absl::StatusCode::kDataLoss);
}

TEST(GgufTokenizer, TokensThatAreNotUtf8AreRepairedNotTrusted) {
  GgufVocabulary v = Tiny();
  v.tokens.push_back("\xFF\xC3");
  v.types.push_back(4);
  const auto t = Tokenizer::FromGguf(v, "t.gguf");
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ((*t)->Decode(Ids{4}, false), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

}  // namespace
}  // namespace catena
