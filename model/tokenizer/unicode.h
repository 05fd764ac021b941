// The Unicode properties that pre-tokenizers and added tokens ask for, from ICU's data, in one
// compact table built on first use (some 50 KB). Any thread.
#pragma once

#include <cstdint>
#include <vector>

namespace catena {

// Bits of a code point.
enum CharClass : uint8_t {
  kLetter = 1,   // \p{L}
  kNumber = 2,   // \p{N}
  kSpace = 4,    // \s: White_Space
  kNewline = 8,  // \r or \n
  kWord = 16,    // \w: letters, marks, decimal digits, connector punctuation, join controls
  kUpper = 32,   // \p{Lu} \p{Lt} \p{Lm} \p{Lo} \p{M}: what may stand in the capitals of a word
  kLower = 64,   // \p{Ll} \p{Lm} \p{Lo} \p{M}
  kPunctuation = 128,  // \p{P} and ASCII's signs: $ + < = > ^ ` | ~
};

class CharClasses {
 public:
  static const CharClasses& Get();

  // Any value is allowed; what is no code point has no bits.
  uint8_t operator()(char32_t c) const {
    if (c < 0x80) return ascii_[c];
    return c > 0x10FFFF ? 0 : pages_[page_of_[c >> 8] * 256u + (c & 0xFF)];
  }

 private:
  CharClasses();

  uint8_t ascii_[128];
  uint16_t page_of_[0x1100];
  std::vector<uint8_t> pages_;  // (distinct pages, 256)
};

}  // namespace catena
