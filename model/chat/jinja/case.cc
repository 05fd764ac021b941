#include "model/chat/jinja/case.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "model/tokenizer/utf8.h"

namespace catena::jinja {
namespace {

icu::UnicodeString FromUtf8(std::string_view text) {
  return icu::UnicodeString::fromUTF8(
      icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
}

std::string ToUtf8(const icu::UnicodeString& text) {
  std::string out;
  text.toUTF8String(out);
  return out;
}

std::string TitleOf(std::string_view character) {
  icu::UnicodeString text = FromUtf8(character);
  return ToUtf8(text.toTitle(nullptr, icu::Locale::getRoot(), U_TITLECASE_NO_LOWERCASE));
}

}  // namespace

std::string Upper(std::string_view text) {
  return ToUtf8(FromUtf8(text).toUpper(icu::Locale::getRoot()));
}

std::string Lower(std::string_view text) {
  return ToUtf8(FromUtf8(text).toLower(icu::Locale::getRoot()));
}

std::string Title(std::string_view text) {
  std::string out;
  bool inside = false;  // of a word: the character before has case
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = ReadCodePoint(text, at);
    const std::string_view character = text.substr(at, c.size);
    out += inside ? Lower(character) : TitleOf(character);
    inside = u_hasBinaryProperty(static_cast<UChar32>(c.value), UCHAR_CASED) != 0;
    at += c.size;
  }
  return out;
}

std::string Capitalize(std::string_view text) {
  if (text.empty()) return "";
  const size_t size = ReadCodePoint(text, 0).size;
  return TitleOf(text.substr(0, size)) + Lower(text.substr(size));
}

}  // namespace catena::jinja
