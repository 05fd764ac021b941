#include "model/tokenizer/utf8.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace catena {
namespace {

// The length of a leading run of ASCII.
size_t AsciiPrefix(const char* p, size_t n) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t word;
    std::memcpy(&word, p + i, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (i < n && static_cast<unsigned char>(p[i]) < 0x80) ++i;
  return i;
}

// The length of the longest prefix of whole characters.
size_t ValidPrefix(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    i += AsciiPrefix(text.data() + i, text.size() - i);
    if (i == text.size()) break;
    const Utf8Sequence s = ScanUtf8(text, i);
    if (!s.valid) break;
    i += s.size;
  }
  return i;
}

}  // namespace

Utf8Sequence ScanUtf8(std::string_view text, size_t at) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + at;
  const size_t n = text.size() - at;
  const unsigned lead = p[0];
  if (lead < 0x80) return {1, true, false};
  // The table of well-formed sequences (Unicode 15, table 3-7): the second byte's range.
  unsigned low = 0x80, high = 0xBF;
  uint8_t size;
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {1, false, false};
  }
  for (uint8_t i = 1; i < size; ++i) {
    if (i == n) return {i, false, true};
    if (p[i] < low || p[i] > high) return {i, false, false};
    low = 0x80;
    high = 0xBF;
  }
  return {size, true, false};
}

bool IsValidUtf8(std::string_view text) { return ValidPrefix(text) == text.size(); }

void AppendValidUtf8(std::string_view bytes, std::string* out) {
  while (!bytes.empty()) {
    const size_t valid = ValidPrefix(bytes);
    out->append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (bytes.empty()) break;
    out->append(kReplacementCharacter);
    bytes.remove_prefix(ScanUtf8(bytes, 0).size);
  }
}

std::string ToValidUtf8(std::string_view bytes) {
  std::string out;
  AppendValidUtf8(bytes, &out);
  return out;
}

absl::StatusOr<std::string> UnusedNoncharacter(absl::Span<const std::string_view> texts) {
  for (char32_t c = 0xFDD0; c <= 0xFDEF; ++c) {
    std::string mark;
    AppendCodePoint(c, &mark);
    const auto has = [&](std::string_view text) { return text.find(mark) != text.npos; };
    if (std::none_of(texts.begin(), texts.end(), has)) return mark;
  }
  return absl::InvalidArgumentError(
      "the text has every noncharacter from U+FDD0 to U+FDEF: leave one out");
}

CodePoint ReadCodePointBefore(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return ReadCodePoint(text, at);
}

void AppendCodePoint(char32_t c, std::string* out) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->append({static_cast<char>(0xC0 | c >> 6), tail(0)});
  } else if (c < 0x10000) {
    out->append({static_cast<char>(0xE0 | c >> 12), tail(6), tail(0)});
  } else {
    out->append({static_cast<char>(0xF0 | c >> 18), tail(12), tail(6), tail(0)});
  }
}

void Utf8Stream::Push(std::string_view bytes, std::string* out) {
  while (!held_.empty() && !bytes.empty()) {  // complete, byte by byte, what was held back
    held_.push_back(bytes.front());
    const Utf8Sequence s = ScanUtf8(held_, 0);
    if (s.truncated) {
      bytes.remove_prefix(1);
    } else if (s.valid) {
      bytes.remove_prefix(1);
      out->append(held_);
      held_.clear();
    } else {  // the new byte does not belong to it: it may start something of its own
      out->append(kReplacementCharacter);
      held_.clear();
    }
  }
  while (!bytes.empty()) {
    const size_t valid = ValidPrefix(bytes);
    out->append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (bytes.empty()) break;
    const Utf8Sequence s = ScanUtf8(bytes, 0);
    if (s.truncated) {
      held_ = bytes;
      break;
    }
    out->append(kReplacementCharacter);
    bytes.remove_prefix(s.size);
  }
}

std::string ReadableBytes(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const Utf8Sequence s = ScanUtf8(bytes, 0);
    if (s.valid) {
      out.append(bytes.substr(0, s.size));
    } else {
      for (const char b : bytes.substr(0, s.size)) {
        out += fmt::format("<0x{:02X}>", static_cast<uint8_t>(b));
      }
    }
    bytes.remove_prefix(s.size);
  }
  return out;
}

}  // namespace catena
