// GPT-2's one character for each byte: printable Latin-1 bytes stand for themselves, the others are
// U+0100 and up, in order (bytes_to_unicode of openai/gpt-2, src/encoder.py). Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace catena {

char32_t ByteLevelChar(uint8_t byte);

// The byte that `c` stands for, or -1.
int ByteLevelByte(char32_t c);

// Appends the bytes that a token's text stands for. Where one of its characters stands for no byte
// (an added token), the text itself. REQUIRES: `text` is valid UTF-8.
void AppendByteLevelDecoded(std::string_view text, std::string* out);

// Appends the characters of `bytes`.
void AppendByteLevelEncoded(std::string_view bytes, std::string* out);

}  // namespace catena
