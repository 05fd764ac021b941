// Small tokenizer.json texts: what is read, what is refused, and how added tokens match. Expected
// ids are what huggingface/tokenizers gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/tokenizer_test_data.h"

namespace catena {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

// A vocabulary of a b c ab _ with a space as _, and one added token.
json Small() {
  return json::parse(R"({
    "added_tokens": [{"id": 5, "content": "<x>", "special": true}],
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "_"},
    "pre_tokenizer": null,
    "post_processor": null,
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "_"}, "content": " "}, {"type": "ByteFallback"},
      {"type": "Fuse"}]},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "_": 4},
              "merges": ["a b"]}})");
}

std::shared_ptr<const Tokenizer> Load(const json& j) {
  const auto t = Tokenizer::FromTokenizerJson(j.dump(), "t.json");
  EXPECT_TRUE(t.ok()) << t.status();
  return t.ok() ? *t : nullptr;
}

TEST(TokenizerJson, ASmallFileMergesAndDropsWhatItDoesNotKnow) {
  const auto t = Load(Small());
  EXPECT_EQ(*t->Encode("ab c<x>bzab"), (Ids{3, 4, 2, 5, 1, 3}));
  EXPECT_EQ(t->Decode(Ids{3, 4, 5, 2}, false), "ab <x>c");
  EXPECT_EQ(t->Decode(Ids{3, 4, 5, 2}, true), "ab c");
  EXPECT_FALSE(t->add_bos());
}

TEST(TokenizerJson, StripFlagsTakeUnicodeWhiteSpaceAlong) {
  json j = Small();
  j["added_tokens"][0]["lstrip"] = true;
  EXPECT_EQ(*Load(j)->Encode("a \u3000<x> b"), (Ids{0, 5, 4, 1}));
  j["added_tokens"][0]["rstrip"] = true;
  EXPECT_EQ(*Load(j)->Encode("a \u3000<x>\x0b\u00a0 b"), (Ids{0, 5, 1}));
  EXPECT_EQ(*Load(j)->Encode("<x>  <x>"), (Ids{5, 5}));
  EXPECT_EQ(*Load(j)->Encode("<x>\u200b<x>"), (Ids{5, 5}));  // no white space, and not known
}

TEST(TokenizerJson, ASingleWordTokenTouchesNoWordCharacter) {
  json j = Small();
  j["added_tokens"][0]["content"] = "cab";
  j["added_tokens"][0]["single_word"] = true;
  EXPECT_EQ(*Load(j)->Encode("cab cab-cab acab"), (Ids{5, 4, 5, 5, 4, 0, 2, 3}));
}

TEST(TokenizerJson, TheLongestAddedTokenAtTheLeftmostPlaceWins) {
  json j = Small();
  j["added_tokens"].push_back({{"id", 6}, {"content", "<x>a"}, {"special", false}});
  j["added_tokens"].push_back({{"id", 7}, {"content", "c<x"}, {"special", false}});
  EXPECT_EQ(*Load(j)->Encode("<x>ab<x>b"), (Ids{6, 1, 5, 1}));
  EXPECT_EQ(*Load(j)->Encode("c<x>a"), (Ids{7, 0}));
}

TEST(TokenizerJson, ANormalizedAddedTokenIsFoundInNormalizedText) {
  json j = Small();
  j["added_tokens"][0]["content"] = "b c";
  j["added_tokens"][0]["normalized"] = true;
  EXPECT_EQ(*Load(j)->Encode("ab_cb c"), (Ids{0, 5, 5}));
}

TEST(TokenizerJson, UnknownCharactersBecomeUnkFusedWhereSaid) {
  json j = Small();
  j["model"]["unk_token"] = "c";
  EXPECT_EQ(*Load(j)->Encode("zza"), (Ids{2, 2, 0}));
  j["model"]["fuse_unk"] = true;
  EXPECT_EQ(*Load(j)->Encode("zzaz"), (Ids{2, 0, 2}));
}

TEST(TokenizerJson, IgnoreMergesTakesAWholePieceThatIsAToken) {
  json j = Small();
  j["model"]["vocab"]["cab"] = 6;  // no merge makes it
  EXPECT_EQ(*Load(j)->Encode("cab"), (Ids{2, 3}));
  j["model"]["ignore_merges"] = true;
  EXPECT_EQ(*Load(j)->Encode("cab"), (Ids{6}));
}

TEST(TokenizerJson, AByteLevelFileWithABos) {
  json j = Small();
  j["normalizer"] = nullptr;
  j["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  j["decoder"] = {{"type", "ByteLevel"}};
  j["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"\u0120", 2}, {"\u0120a", 3}, {"\u00c3", 4}};
  j["model"]["merges"] = json::parse(R"([["\u0120", "a"]])");
  j["post_processor"] = json::parse(R"({"type": "TemplateProcessing", "single": [
    {"SpecialToken": {"id": "<x>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]})");
  const auto t = Load(j);
  EXPECT_EQ(*t->Encode("b a\u00e9"), (Ids{1, 3, 4}));  // 0xA9 has no symbol
  EXPECT_EQ(t->Decode(Ids{1, 3, 4}, false), "b a\xEF\xBF\xBD");
  EXPECT_EQ(t->Piece(4), "<0xC3>");
  EXPECT_TRUE(t->add_bos());
  EXPECT_EQ(t->bos_id(), 5);
}

TEST(TokenizerJson, NfcPutsLongRunsOfMarksInOrder) {
  json j = Small();
  j["normalizer"] = {{"type", "NFC"}};
  j["added_tokens"] = json::array();
  j["model"]["vocab"] = {{"\u00e9", 0}, {"\u0316", 1}, {"\u0301", 2}, {"e", 3}};
  j["model"]["merges"] = json::array();
  std::string marks;
  for (int i = 0; i < 200'000; ++i) marks += "\u0301\u0316";  // above, below: below comes first
  const Ids ids = *Load(j)->Encode("e" + marks);
  ASSERT_EQ(ids.size(), 400'000u);
  EXPECT_EQ(ids[0], 0);
  EXPECT_EQ(ids[1], 1);
  EXPECT_EQ(ids[200'000], 1);
  EXPECT_EQ(ids[200'001], 2);
}

std::shared_ptr<const Tokenizer> Load(const json& j, const TokenizerConfig& config) {
  const auto t = Tokenizer::FromTokenizerJson(j.dump(), "t.json", config);
  EXPECT_TRUE(t.ok()) << t.status();
  return t.ok() ? *t : nullptr;
}

TEST(TokenizerJson, WhatEndsATextIsHiddenThoughTheFileCallsItPlain) {
  json j = Small();
  j["added_tokens"] = json::parse(R"([{"id": 5, "content": "<|end|>", "special": false},
                                      {"id": 6, "content": "<stop>", "special": false},
                                      {"id": 8, "content": "</s>", "special": false}])");
  j["model"]["vocab"]["<|im_end|>"] = 7;  // a plain piece that no merge makes
  TokenizerConfig config;
  config.eos_token = "<stop>";
  config.end_ids = {1};
  const auto t = Load(j, config);
  EXPECT_THAT(t->end_ids(), ::testing::UnorderedElementsAre(5, 7, 1, 6));
  EXPECT_EQ(t->Decode(Ids{3, 5, 7, 6, 1, 8, 0}, true), "ab</s>a");
  EXPECT_EQ(t->Decode(Ids{5}, false), "<|end|>");
  EXPECT_EQ(*t->Encode("a<|im_end|>b"), (Ids{0, 7, 1}));
  // A user's text: its characters, which this vocabulary lacks, and so a and b are neighbours.
  EXPECT_EQ(*t->Encode(t->BreakSpecial("a<|end|>b", "#"), {.mark = "#"}), (Ids{3}));
}

TEST(TokenizerJson, TokensThatOtherFilesNameAreKnown) {
  json j = Small();
  j["model"]["vocab"]["<pad>"] = 6;
  TokenizerConfig config;
  config.added = {{.content = "<x>", .id = 5},                      // is there already
                  {.content = "<pad>", .id = -1, .special = true},  // as the vocabulary has it
                  {.content = "<new>", .id = 9, .special = true},
                  {.content = "<taken>", .id = 3},
                  {.content = "<lost>", .id = -1, .special = true}};
  const auto t = Load(j, config);
  EXPECT_EQ(*t->Encode("<x><pad><new>"), (Ids{5, 6, 9}));
  EXPECT_EQ(t->Decode(Ids{0, 6, 9, 1}, true), "ab");
  EXPECT_EQ(t->IdOf("<taken>"), -1);
  EXPECT_EQ(t->IdOf("<lost>"), -1);
}

TEST(TokenizerJson, TheBosThatOtherFilesNameIsAddedWhereTheySaySo) {
  TokenizerConfig config;
  config.bos_token = "<x>";
  EXPECT_EQ(Load(Small(), config)->bos_id(), 5);
  EXPECT_FALSE(Load(Small(), config)->add_bos());
  config.add_bos = true;
  EXPECT_TRUE(Load(Small(), config)->add_bos());
  json with_bos = Small();
  with_bos["post_processor"] = json::parse(R"({"type": "TemplateProcessing", "single": [
    {"SpecialToken": {"id": "<x>", "type_id": 0}}]})");
  config.add_bos = false;
  EXPECT_FALSE(Load(with_bos, config)->add_bos());
  config = {};
  config.bos_token = "<none>";
  config.add_bos = true;
  EXPECT_FALSE(Load(Small(), config)->add_bos());
}

struct Refusal {
  const char* pointer;  // what is changed
  const char* value;
  absl::StatusCode code;
  const char* says;
};

// A unigram model of <u> _ a b ab _a ba, a space as _.
json SmallUnigram() {
  json j = Small();
  j["added_tokens"][0]["id"] = 7;
  j["normalizer"] = nullptr;
  j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "always"}};
  j["decoder"] = j["pre_tokenizer"];
  j["model"] = json::parse(R"({"type": "Unigram", "unk_id": 0, "vocab": [["<u>", 0], ["_", -2],
    ["a", -2], ["b", -3], ["ab", -4], ["_a", -3], ["ba", -4]]})");
  return j;
}

TEST(TokenizerJson, AUnigramModelTakesTheBestCut) {
  const auto t = Load(SmallUnigram());
  EXPECT_EQ(*t->Encode("ab aba"), (Ids{1, 4, 5, 6}));
  EXPECT_EQ(*t->Encode("a<x>zz"), (Ids{5, 7, 1, 0}));
}

// However the model scores its text, and whatever the text was before it was normalized.
TEST(TokenizerJson, NoTextIsCutIntoAControlTokenOfAUnigramModel) {
  json j = SmallUnigram();
  j["added_tokens"][0] = {{"id", 4}, {"content", "ab"}, {"special", true}};
  j["model"]["vocab"][4][1] = 0;
  EXPECT_EQ(*Load(j)->Encode("ab"), (Ids{4}));
  EXPECT_EQ(*Load(j)->Encode(Load(j)->BreakSpecial("ab", "#"), {.mark = "#"}), (Ids{5, 3}));
  j["normalizer"] =
      json::parse(R"({"type": "Replace", "pattern": {"String": "A"}, "content": "a"})");
  EXPECT_EQ(*Load(j)->Encode("Ab"), (Ids{5, 3}));
}

TEST(TokenizerJson, WhatNormalizationMakesASpecialTokenOfIsTextWhereStrangersWroteIt) {
  json j = Small();
  j["added_tokens"][0]["normalized"] = true;
  j["normalizer"] =
      json::parse(R"({"type": "Replace", "pattern": {"String": "("}, "content": "<"})");
  const auto t = Load(j);
  EXPECT_EQ(*t->Encode("a(x>b"), (Ids{0, 5, 1}));
  const auto encoded = [&](std::string_view text) {
    return *t->Encode(t->BreakSpecial(text, "#"), {.mark = "#"});
  };
  EXPECT_EQ(encoded("a(x>b"), Ids{3});  // < x > are not known
  EXPECT_EQ(encoded("a<x>b"), Ids{3});
  EXPECT_EQ(encoded("ab(c"), (Ids{3, 2}));
  EXPECT_EQ(*t->Encode("a<x>" + t->BreakSpecial("(x>", "#"), {.mark = "#"}), (Ids{0, 5}));
}

TEST(TokenizerJson, ANormalizerThatBlowsMuchTextUpIsRefused) {
  json j = Small();
  j["normalizer"] =
      json::parse(R"({"type": "Replace", "pattern": {"String": "a"}, "content": "bbbbbbbbbb"})");
  const auto t = Load(j);
  EXPECT_EQ(t->Encode("aa")->size(), 20u);
  EXPECT_THAT(std::string(t->Encode(std::string(200'000, 'a')).status().message()),
              HasSubstr("normalizer"));
}

TEST(TokenizerJson, AMetaspaceDecoderDropsSpacesOfTheFirstTokenAlone) {
  const auto t = Load(SmallUnigram());
  EXPECT_EQ(t->Decode(Ids{5, 1, 5, 3}, false), "a  ab");
  EXPECT_EQ(t->Decode(Ids{7, 5}, false), "<x> a");
  EXPECT_EQ(t->Decode(Ids{7, 5}, true), "a");
  StreamDecoder stream = t->MakeStreamDecoder(false);
  EXPECT_EQ(stream.Push(5), "a");
  EXPECT_EQ(stream.Push(5), " a");
  EXPECT_EQ(stream.Flush(), "");
  EXPECT_EQ(stream.Push(5), "a");
  json j = SmallUnigram();
  j["decoder"]["prepend_scheme"] = "never";
  EXPECT_EQ(Load(j)->Decode(Ids{5, 5}, false), " a a");
}

TEST(TokenizerJson, SpacesAreStrippedAndSqueezedAndCharactersMapped) {
  json j = SmallUnigram();
  j["normalizer"] = json::parse(R"({"type": "Sequence", "normalizers": [
    {"type": "Precompiled", "precompiled_charsmap": "EAAAAAAIAAAAAACAAAAAAAEJAABhAA=="},
    {"type": "Strip", "strip_left": false, "strip_right": true},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "_"}]})");
  EXPECT_EQ(*Load(j)->Encode("\x01  b \u3000 "), (Ids{5, 1, 3}));  // U+0001 is an a
}

TEST(TokenizerJson, SaysWhatOfAUnigramModelIsNotSupportedOrDamaged) {
  constexpr auto kNot = absl::StatusCode::kInvalidArgument, kLoss = absl::StatusCode::kDataLoss;
  struct Case {
    const char *path, *value;
    absl::StatusCode code;
    const char* message;
  };
  const Case cases[] = {
      {"/model/unk_id", "null", kNot, "model.unk_id null"},
      {"/model/unk_id", "7", kLoss, "not in the vocabulary"},
      {"/model/unk_id", "-1", kLoss, "not in the vocabulary"},
      {"/model/vocab", R"({"a": 0})", kLoss, "model.vocab must be a list"},
      {"/model/vocab", "[]", kLoss, "model.vocab must be a list"},
      {"/model/vocab/1", R"(["a"])", kLoss, "entry 1"},
      {"/model/vocab/1", R"(["a", "1"])", kLoss, "entry 1"},
      {"/model/vocab/1", R"(["a", -3])", kNot, "\"a\" twice"},
      {"/pre_tokenizer", R"({"type": "ByteLevel"})", kNot, "Unigram together with ByteLevel"},
      {"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "!"})", kLoss, "base64"},
      {"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "AAAA"})", kLoss,
       "no table of characters"},
      {"/normalizer", R"({"type": "Replace", "pattern": {"Regex": "x"}, "content": ""})", kNot,
       "Replace of"},
      {"/decoder/replacement", R"("__")", kLoss, "one character"},
  };
  for (const Case& c : cases) {
    json j = SmallUnigram();
    j[json::json_pointer(c.path)] = json::parse(c.value);
    const absl::Status status = Tokenizer::FromTokenizerJson(j.dump(), "t.json").status();
    EXPECT_EQ(status.code(), c.code) << c.value << ": " << status;
    EXPECT_THAT(std::string(Message(status)), HasSubstr(c.message)) << c.value;
  }
}

TEST(TokenizerJson, SaysWhatIsNotSupportedOrDamaged) {
  constexpr auto kBad = absl::StatusCode::kDataLoss, kNot = absl::StatusCode::kInvalidArgument;
  const Refusal refusals[] = {
      {"/model/type", R"("WordPiece")", kNot, "WordPiece"},
      {"/model/dropout", "0.5", kNot, "dropout"},
      {"/model/end_of_word_suffix", R"("</w>")", kNot, "end_of_word_suffix"},
      {"/model/vocab", "3", kBad, "vocab"},
      {"/model/vocab/a", "-1", kBad, "bad id"},
      {"/model/vocab/a", "2147483647", kBad, "2147483647"},
      {"/model/vocab/a", "18446744073709551615", kBad, "bad id"},
      {"/model/vocab/a", R"("0")", kBad, "bad id"},
      {"/model/vocab/a", "1", kBad, "two texts"},
      {"/model/merges", R"(["a"])", kBad, "two tokens"},
      {"/model/merges", R"(["a b c"])", kBad, "two tokens"},
      {"/model/merges", R"([["a"]])", kBad, "two tokens"},
      {"/model/merges", R"(["a z"])", kBad, "not in the vocabulary"},
      {"/model/merges", R"(["b a"])", kBad, "not in the vocabulary"},
      {"/model/merges", "null", kBad, "merges"},
      {"/model/unk_token", R"("z")", kBad, "unk_token"},
      {"/added_tokens", "{}", kBad, "added_tokens"},
      {"/added_tokens/0/id", "1.5", kBad, "id"},
      {"/added_tokens/0/id", "2147483648", kBad, "bad id"},
      {"/added_tokens/0/id", "2000000000", kBad, "2000000000"},
      {"/added_tokens/0/content", R"("a")", kBad, "different ids"},
      {"/normalizer", R"({"type": "Lowercase"})", kNot, "Lowercase"},
      {"/normalizer", R"({"type": "Replace", "pattern": {"Regex": "x"}, "content": ""})", kNot,
       "Regex"},
      {"/normalizer", R"({"type": "Replace", "pattern": {"String": ""}, "content": "a"})", kNot,
       "empty"},
      {"/normalizer", R"({"type": "Sequence", "normalizers": 1})", kBad, "normalizers"},
      {"/normalizer", R"({"kind": 1})", kBad, "type"},
      {"/pre_tokenizer", R"({"type": "UnicodeScripts"})", kNot, "UnicodeScripts"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "(a)\\1"},
                            "behavior": "Isolated"})",
       kNot, "\\1"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Odd"})", kBad,
       "Contiguous"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {}, "behavior": "Isolated"})", kBad,
       "Regex"},
      {"/pre_tokenizer", R"({"type": "CharDelimiterSplit", "delimiter": "ab"})", kBad,
       "one character"},
      {"/decoder", "null", kNot, "decoder"},
      {"/decoder", R"({"type": "WordPiece"})", kNot, "WordPiece"},
      {"/decoder", R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})", kNot, "Strip"},
      {"/post_processor", R"({"type": "BertProcessing"})", kNot, "BertProcessing"},
  };
  for (const Refusal& r : refusals) {
    SCOPED_TRACE(fmt::format("{} {}", r.pointer, r.value));
    json j = Small();
    j[json::json_pointer(r.pointer)] = json::parse(r.value);
    const auto t = Tokenizer::FromTokenizerJson(j.dump(), "t.json");
    EXPECT_EQ(t.status().code(), r.code) << t.status();
    const std::string message(Message(t.status()));
    EXPECT_THAT(message, HasSubstr("t.json"));
    EXPECT_THAT(message, HasSubstr(r.says));
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
  for (const char* text : {"", "[]", "{}", "{", "nul"}) {
    EXPECT_FALSE(Tokenizer::FromTokenizerJson(text, "t.json").ok()) << text;
  }
}

TEST(TokenizerJson, StepsThatWouldMultiplyTheTextAreRefused) {
  json j = Small();
  j["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array()}};
  for (int i = 0; i < 8; ++i) {
    j["normalizer"]["normalizers"].push_back(
        {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aaaaaaaa"}});
  }
  EXPECT_EQ(Tokenizer::FromTokenizerJson(j.dump(), "t.json").status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace catena
