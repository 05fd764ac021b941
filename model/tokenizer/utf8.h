// UTF-8 as the tokenizers need it: reading code points of valid text, and replacing what is not
// valid by U+FFFD, one for each maximal subpart of an ill-formed sequence (Unicode 15, chapter 3,
// "U+FFFD Substitution of Maximal Subparts"; what WHATWG decoders, Python's errors="replace" and
// Rust's from_utf8_lossy do). Pure functions: any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/types/span.h"

#include "kernels/base/status.h"

namespace catena {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// What the bytes at `at` begin with: a character of `size` bytes, or an ill-formed sequence whose
// maximal subpart has `size` bytes; `truncated` where more bytes could still complete it.
struct Utf8Sequence {
  uint8_t size;
  bool valid;
  bool truncated;
};

// REQUIRES: at < text.size().
Utf8Sequence ScanUtf8(std::string_view text, size_t at);

bool IsValidUtf8(std::string_view text);
inline bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Appends `bytes` to `out`, with ill-formed parts replaced.
void AppendValidUtf8(std::string_view bytes, std::string* out);
std::string ToValidUtf8(std::string_view bytes);

// A character that none of the texts has, as UTF-8: of the noncharacters U+FDD0 to U+FDEF, which
// Unicode leaves to programs for marks of their own. INVALID_ARGUMENT where they have all of them.
absl::StatusOr<std::string> UnusedNoncharacter(absl::Span<const std::string_view> texts);

// As a human reads bytes: characters as they are, bytes that are none written <0xHH>.
std::string ReadableBytes(std::string_view bytes);

// The code point that starts at `at`, and its size in bytes.
// REQUIRES: `text` is valid UTF-8, at < text.size() and `at` starts a character.
struct CodePoint {
  char32_t value;
  uint8_t size;
};
inline CodePoint ReadCodePoint(std::string_view text, size_t at) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + at;
  const uint32_t b = p[0];
  if (b < 0x80) return {b, 1};
  if (b < 0xE0) return {(b & 0x1F) << 6 | (p[1] & 0x3Fu), 2};
  if (b < 0xF0) return {(b & 0x0F) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu), 3};
  return {(b & 7) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu), 4};
}

// The code point that ends just before `end`. REQUIRES: valid UTF-8, 0 < end <= text.size().
CodePoint ReadCodePointBefore(std::string_view text, size_t end);

// REQUIRES: `c` is a scalar value.
void AppendCodePoint(char32_t c, std::string* out);

// Turns a stream of bytes into valid UTF-8, piece by piece: what comes out, joined, is what
// AppendValidUtf8 makes of all bytes together. Holds back at most 3 bytes. One thread at a time.
class Utf8Stream {
 public:
  // Appends to `out` what is now certain.
  void Push(std::string_view bytes, std::string* out);
  // Appends what a following end of the stream makes certain. Leaves the state as it is.
  void AppendPending(std::string* out) const { AppendValidUtf8(held_, out); }
  void Clear() { held_.clear(); }

 private:
  std::string held_;  // the start of a character, incomplete
};

}  // namespace catena
