// What holds for every text and every list of ids, on the real tokenizers.
#include <random>

#include <gtest/gtest.h>

#include "model/tokenizer/utf8.h"
#include "tests/model/tokenizer_test_data.h"

namespace catena {
namespace {

using Ids = std::vector<int32_t>;

std::vector<std::shared_ptr<const Tokenizer>> Tokenizers() {
  std::vector<std::shared_ptr<const Tokenizer>> out;
  for (const char* file : {"phi3/tokenizer.json", "stories260k-phi3/tokenizer.json"}) {
    if (auto t = LoadSharedTokenizer(file)) out.push_back(t);
  }
  if (const std::string path = SmolLm2Path(); !path.empty()) {
    const auto checkpoint = Checkpoint::Open(path, {});
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    const auto t = Tokenizer::FromCheckpoint(**checkpoint);
    EXPECT_TRUE(t.ok()) << t.status();
    out.push_back(*t);
  }
  return out;
}

std::string RandomBytes(std::mt19937_64* rng) {
  static const std::string kParts[] = {"a",          " ",         "  ",       "\n",     "Hello",
                                       "<|end|>",    "</s>",      "'s",       "\u2581", "\u4f60",
                                       "\u0301",     "\xFF",      "\xF0\x9F", "7",      "\u00a0",
                                       "<|im_end|>", "\U0001F999"};
  std::string out;
  for (size_t n = (*rng)() % 20; n > 0; --n) {
    if ((*rng)() % 4 == 0) {
      out.push_back(static_cast<char>((*rng)()));
    } else {
      out += kParts[(*rng)() % std::size(kParts)];
    }
  }
  return out;
}

TEST(TokenizerProperty, AStreamsChunksJoinToTheWholeDecodeAndAreWholeCharacters) {
  std::mt19937_64 rng(3);
  for (const auto& t : Tokenizers()) {
    for (int round = 0; round < 4000; ++round) {
      Ids ids;
      for (size_t n = rng() % 24; n > 0; --n) {
        const uint64_t limit = rng() % 2 == 0 ? 300 : t->vocab_size() + 70;
        ids.push_back(static_cast<int32_t>(rng() % limit));
      }
      for (const bool skip : {false, true}) {
        const std::string whole = t->Decode(ids, skip);
        ASSERT_TRUE(IsValidUtf8(whole));
        StreamDecoder stream = t->MakeStreamDecoder(skip);
        std::string shown;
        for (size_t i = 0; i < ids.size(); ++i) {
          const std::string chunk = stream.Push(ids[i]);
          ASSERT_TRUE(IsValidUtf8(chunk));
          shown += chunk;
          const Ids so_far(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(i) + 1);
          ASSERT_EQ(shown + stream.Pending(), t->Decode(so_far, skip));
        }
        ASSERT_EQ(shown + stream.Flush(), whole);
      }
    }
  }
}

TEST(TokenizerProperty, AFlushedStreamStartsAnew) {
  for (const auto& t : Tokenizers()) {
    StreamDecoder stream = t->MakeStreamDecoder(false);
    const Ids ids = *t->Encode("Hello \U0001F999");
    for (int round = 0; round < 2; ++round) {
      std::string text;
      for (const int32_t id : ids) text += stream.Push(id);
      EXPECT_EQ(text + stream.Flush(), t->Decode(ids, false));
    }
  }
}

TEST(TokenizerProperty, AnyBytesEncodeAsTheirReplacedTextDoes) {
  std::mt19937_64 rng(4);
  for (const auto& t : Tokenizers()) {
    for (int round = 0; round < 4000; ++round) {
      const std::string bytes = RandomBytes(&rng);
      std::string replaced;
      AppendValidUtf8(bytes, &replaced);
      const Ids ids = *t->Encode(bytes);
      ASSERT_EQ(ids, *t->Encode(replaced));
      for (const int32_t id : ids) {
        ASSERT_GE(id, 0);
        ASSERT_LT(id, t->vocab_size());
      }
    }
  }
}

// Without added tokens and bytes that the vocabulary lacks, text comes back as it was.
TEST(TokenizerProperty, PlainTextSurvivesEncodingAndDecoding) {
  std::mt19937_64 rng(5);
  for (const auto& t : Tokenizers()) {
    for (int round = 0; round < 2000; ++round) {
      std::string text = "x";
      for (size_t n = rng() % 30; n > 0; --n) {
        const char32_t c = rng() % 2 == 0 ? 0x20 + rng() % 0x5F : 0xA0 + rng() % 0x3000;
        if (c != '<' && c != 0x2581) AppendCodePoint(c, &text);
      }
      ASSERT_EQ(t->Decode(*t->Encode(text), false), text);
    }
  }
}

TEST(TokenizerProperty, LongLinesOfOneThingComeThrough) {
  for (const auto& t : Tokenizers()) {
    for (const std::string unit : {" ", "a", "\n", "0", "ab", "\u0301", "\U0001F999", "<",
                                   "<|end|>", "\xFF", "'", " <|end|>  "}) {
      std::string text = "x";
      while (text.size() < 1'000'000) text += unit;
      std::string replaced;
      AppendValidUtf8(text, &replaced);
      const std::string decoded = t->Decode(*t->Encode(text), false);
      if (unit.find("|end|") != std::string::npos) continue;  // takes white space along
      ASSERT_EQ(decoded, replaced) << unit;
    }
  }
}

}  // namespace
}  // namespace catena
