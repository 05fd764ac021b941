// From ids back to text: the decoders Replace, ByteFallback, Fuse, Strip, Metaspace and ByteLevel
// of huggingface/tokenizers. What each id stands for is worked out once; a StreamDecoder then turns
// ids into text one at a time, and a whole decode is a stream that ends.
//
// TokenDecoder: immutable, any thread. StreamDecoder: one sequence, one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/utf8.h"
#include "model/tokenizer/vocabulary.h"

namespace catena {

struct DecoderOptions {
  bool byte_level = false;     // tokens are spelled as in byte_level.h; else they are UTF-8
  bool byte_fallback = false;  // <0x00> to <0xFF> are bytes
  // Replaced in each token's text, in order. REQUIRES: no empty pattern.
  struct Replacement {
    std::string pattern, content;
  };
  std::vector<Replacement> replacements;
  std::string dropped_first;  // Metaspace: goes from the first token's text before the replacements
  std::string strip;          // one character, left off the start of the whole text …
  int strip_count = 0;        // … up to so many times
};

class TokenDecoder {
 public:
  // `special` lists the ids that a decode may skip.
  TokenDecoder(const Vocabulary& vocabulary, const std::vector<int32_t>& special,
               DecoderOptions options);

  const DecoderOptions& options() const { return options_; }
  bool Has(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < kinds_.size() && (kinds_[id] & kPresent) != 0;
  }
  // REQUIRES of these: Has(id).
  bool IsSpecial(int32_t id) const { return (kinds_[id] & kSpecial) != 0; }
  bool IsByte(int32_t id) const { return (kinds_[id] & kByte) != 0; }
  // The bytes that the token stands for; not always whole characters.
  std::string_view Bytes(int32_t id) const { return others_.Of(id); }
  // The same of the first token of a text.
  std::string_view FirstBytes(int32_t id) const {
    return options_.dropped_first.empty() ? Bytes(id) : first_.Of(id);
  }

 private:
  enum Kind : uint8_t { kPresent = 1, kSpecial = 2, kByte = 4 };

  struct Texts {
    std::string arena;
    std::vector<uint32_t> offsets{0};

    std::string_view Of(int32_t id) const {
      return std::string_view(arena).substr(offsets[id], offsets[id + 1] - offsets[id]);
    }
  };

  // Appends what the token that is spelled so stands for; whether it is a byte's.
  bool Append(std::string text, std::string* arena) const;

  DecoderOptions options_;
  Texts others_, first_;  // first_: where dropped_first is not empty
  std::vector<uint8_t> kinds_;
};

// The chunks that Push and Flush give, joined, are the whole decode of the ids, whatever they are;
// no chunk ends inside a character. Ids that are no token give nothing.
//
// Withheld until it is certain: the first bytes of a character; and with byte fallback every run of
// byte tokens, since one invalid byte makes U+FFFD of each byte of its run, before and after it.
class StreamDecoder {
 public:
  StreamDecoder(std::shared_ptr<const TokenDecoder> decoder, bool skip_special)
      : decoder_(std::move(decoder)),
        skip_special_(skip_special),
        strip_left_(decoder_->options().strip_count) {}

  // The text that is certain now that `id` has come. Amortised O(its size).
  std::string Push(int32_t id);

  // What Flush would give. Push's chunks so far and this are the whole decode of the ids so far:
  // what stop strings are looked for in. O(the withheld text), which is short but for byte runs.
  std::string Pending() const;

  // The withheld text; the stream then starts anew.
  std::string Flush();

 private:
  // The text of the finished byte run.
  std::string RunText() const;
  void Strip(std::string* text, int* left) const;

  std::shared_ptr<const TokenDecoder> decoder_;
  bool skip_special_;
  bool first_ = true;  // no token has come
  int strip_left_;     // characters that may still be stripped from the start of the text
  std::string run_;    // the byte tokens since the last other token (byte fallback)
  Utf8Stream stream_;  // byte level
};

}  // namespace catena
