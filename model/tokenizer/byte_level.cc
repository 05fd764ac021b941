#include "model/tokenizer/byte_level.h"

#include <array>

#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

constexpr int kChars = 0x144;  // the last of the 68 moved bytes is U+0143

struct Tables {
  std::array<char32_t, 256> char_of{};
  std::array<int16_t, kChars> byte_of{};
};

constexpr Tables MakeTables() {
  Tables t;
  for (auto& b : t.byte_of) b = -1;
  char32_t next = 0x100;
  for (int b = 0; b < 256; ++b) {
    const bool itself = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    t.char_of[b] = itself ? static_cast<char32_t>(b) : next++;
    t.byte_of[t.char_of[b]] = static_cast<int16_t>(b);
  }
  return t;
}

constexpr Tables kTables = MakeTables();

}  // namespace

char32_t ByteLevelChar(uint8_t byte) { return kTables.char_of[byte]; }

int ByteLevelByte(char32_t c) { return c < kChars ? kTables.byte_of[c] : -1; }

void AppendByteLevelDecoded(std::string_view text, std::string* out) {
  const size_t start = out->size();
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = ReadCodePoint(text, i);
    const int byte = ByteLevelByte(c.value);
    if (byte < 0) {
      out->resize(start);
      out->append(text);
      return;
    }
    out->push_back(static_cast<char>(byte));
    i += c.size;
  }
}

void AppendByteLevelEncoded(std::string_view bytes, std::string* out) {
  for (const char b : bytes) AppendCodePoint(ByteLevelChar(static_cast<uint8_t>(b)), out);
}

}  // namespace catena
