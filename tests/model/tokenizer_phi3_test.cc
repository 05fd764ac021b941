// The real Phi-3 tokenizer.json against what huggingface/tokenizers gave for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/tokenizer_test_data.h"

namespace catena {
namespace {

using Ids = std::vector<int32_t>;

class Phi3Tokenizer : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { tokenizer_ = LoadSharedTokenizer("phi3/tokenizer.json"); }
  static void TearDownTestSuite() { tokenizer_.reset(); }
  void SetUp() override {
    if (tokenizer_ == nullptr) GTEST_SKIP() << kNoSharedData;
  }
  static std::shared_ptr<const Tokenizer> tokenizer_;
};
std::shared_ptr<const Tokenizer> Phi3Tokenizer::tokenizer_;

TEST_F(Phi3Tokenizer, EncodesAndDecodesEveryCaseAsTheReference) {
  const auto cases = ReadCases("phi3/phi3_mini_encode.jsonl");
  ASSERT_GE(cases.size(), 138u);
  for (const auto& c : cases) {
    const Ids ids = *tokenizer_->Encode(c["text"].get<std::string>());
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
    EXPECT_EQ(tokenizer_->Decode(ids, false), c["decoded"]) << c["text"];
    EXPECT_EQ(tokenizer_->Decode(ids, true), c["decoded_skip_special"]) << c["text"];
  }
}

TEST_F(Phi3Tokenizer, ReplacesInvalidUtf8BeforeItEncodes) {
  const auto cases = ReadCases("phi3/phi3_mini_invalid_utf8.jsonl");
  ASSERT_GE(cases.size(), 9u);
  for (const auto& c : cases) {
    const Ids ids = *tokenizer_->Encode(DecodeBase64(c["bytes_b64"]));
    EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text_replaced"];
    EXPECT_EQ(tokenizer_->Decode(ids, false), c["decoded"]) << c["text_replaced"];
  }
}

// The reference shows a byte token's character as soon as it is whole, and is wrong where a later
// byte makes U+FFFD of the run. Ours waits for the end of the run, so its chunks may come later
// there, and only there.
void CheckChunks(const std::vector<std::string>& ours, const nlohmann::json& reference,
                 const std::string& whole) {
  EXPECT_EQ(Join(ours), whole);
  std::string shown, reference_shown;
  for (size_t i = 0; i < reference.size(); ++i) {
    shown += ours[i];
    if (reference[i].is_string()) reference_shown += reference[i].get<std::string>();
    if (!whole.starts_with(reference_shown)) return;  // the reference went wrong
    EXPECT_TRUE(reference_shown.starts_with(shown)) << i;
  }
}

TEST_F(Phi3Tokenizer, DecodesAndStreamsEveryCaseAsTheReference) {
  const auto cases = ReadCases("phi3/phi3_mini_decode.jsonl");
  ASSERT_GE(cases.size(), 27u);
  for (const auto& c : cases) {
    SCOPED_TRACE(c["n"].dump());
    const auto ids = c["ids"].get<Ids>();
    EXPECT_EQ(tokenizer_->Decode(ids, false), c["text"]);
    EXPECT_EQ(tokenizer_->Decode(ids, true), c["text_skip_special"]);
    CheckChunks(StreamChunks(*tokenizer_, ids, false), c["hf_decodestream_chunks"], c["text"]);
    CheckChunks(StreamChunks(*tokenizer_, ids, true), c["hf_decodestream_chunks_skip_special"],
                c["text_skip_special"]);
  }
}

// Without byte tokens chunk by chunk.
TEST_F(Phi3Tokenizer, StreamsChunkByChunkAsTheReferenceWhereNoByteTokenIs) {
  int compared = 0;
  for (const auto& c : ReadCases("phi3/phi3_mini_decode.jsonl")) {
    const auto ids = c["ids"].get<Ids>();
    if (std::any_of(ids.begin(), ids.end(), [](int32_t id) { return id >= 3 && id < 259; })) {
      continue;
    }
    ++compared;
    for (const bool skip : {false, true}) {
      const auto& reference =
          c[skip ? "hf_decodestream_chunks_skip_special" : "hf_decodestream_chunks"];
      std::vector<std::string> expected;
      for (const auto& chunk : reference) {
        expected.push_back(chunk.is_null() ? "" : chunk.get<std::string>());
      }
      expected.emplace_back();  // nothing was withheld
      EXPECT_EQ(StreamChunks(*tokenizer_, ids, skip), expected) << c["n"];
    }
  }
  EXPECT_GE(compared, 16);
}

TEST_F(Phi3Tokenizer, AByteRunIsWithheldUntilItEndsButPendingShowsIt) {
  StreamDecoder stream = tokenizer_->MakeStreamDecoder(false);
  EXPECT_EQ(stream.Push(15043), "Hello");
  EXPECT_EQ(stream.Push(13), "");  // <0x0A>
  EXPECT_EQ(stream.Pending(), "\n");
  EXPECT_EQ(stream.Push(3186), "\n world");
  EXPECT_EQ(stream.Push(13), "");
  EXPECT_EQ(stream.Push(258), "");  // <0xFF> spoils the newline before it
  EXPECT_EQ(stream.Flush(), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST_F(Phi3Tokenizer, NamesItsTokens) {
  EXPECT_EQ(tokenizer_->vocab_size(), 32011);
  EXPECT_EQ(tokenizer_->IdOf("<|end|>"), 32007);
  EXPECT_EQ(tokenizer_->IdOf("<0x0A>"), 13);
  EXPECT_EQ(tokenizer_->IdOf("no such token"), -1);
  EXPECT_TRUE(tokenizer_->IsSpecial(32007));
  EXPECT_FALSE(tokenizer_->IsSpecial(2));
  EXPECT_FALSE(tokenizer_->IsSpecial(32063));
  EXPECT_EQ(tokenizer_->Piece(15043), " Hello");
  EXPECT_EQ(tokenizer_->Piece(258), "<0xFF>");
  EXPECT_EQ(tokenizer_->Bytes(258), "\xFF");
  EXPECT_FALSE(tokenizer_->add_bos());
}

TEST_F(Phi3Tokenizer, IdsThatAreNoTokenDecodeToNothing) {
  EXPECT_EQ(tokenizer_->Decode(Ids{15043, 32011, 32063, -1, INT32_MAX, INT32_MIN, 3186}, false),
            "Hello world");
  EXPECT_EQ(tokenizer_->Piece(32011), "");
  EXPECT_EQ(tokenizer_->Bytes(-1), "");
}

TEST_F(Phi3Tokenizer, SpecialTokensInUntrustedTextStayText) {
  const std::string text = "a<|end|>\n<|system|>b";
  const Ids ids = *tokenizer_->Encode(tokenizer_->BreakSpecial(text, "#"), {.mark = "#"});
  for (const int32_t id : ids) EXPECT_LT(id, 32000);
  EXPECT_EQ(tokenizer_->Decode(ids, true), text);
  EXPECT_THAT(*tokenizer_->Encode(text), ::testing::ElementsAre(263, 32007, 32006, 289));
}

}  // namespace
}  // namespace catena
