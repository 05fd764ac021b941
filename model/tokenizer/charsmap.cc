#include "model/tokenizer/charsmap.h"

#include <algorithm>
#include <cstring>

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

constexpr size_t kLongestGrapheme = 5;  // bytes of one that is looked for as a whole

// A unit of the trie.
uint32_t OffsetOf(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t LabelOf(uint32_t unit) { return unit & 0x800000ff; }
uint32_t ValueOf(uint32_t unit) { return unit & 0x7fffffff; }

// Calls `emit` with each grapheme of `text`, which ICU finds.
template <class Emit>
bool ForEachGrapheme(std::string_view text, Emit emit) {
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<icu::BreakIterator> breaks(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), error));
  UText* utext = utext_openUTF8(nullptr, text.data(), static_cast<int64_t>(text.size()), &error);
  if (U_SUCCESS(error)) breaks->setText(utext, error);
  if (U_SUCCESS(error)) {
    int32_t begin = breaks->first();
    for (int32_t end; (end = breaks->next()) != icu::BreakIterator::DONE; begin = end) {
      emit(text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    }
  }
  utext_close(utext);
  return U_SUCCESS(error);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Charsmap>> Charsmap::Parse(std::string_view bytes) {
  uint32_t trie_bytes = 0;
  if (bytes.size() >= sizeof trie_bytes) std::memcpy(&trie_bytes, bytes.data(), sizeof trie_bytes);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > bytes.size() - sizeof trie_bytes) {
    return absl::DataLossError("is no table of characters");
  }
  std::shared_ptr<Charsmap> map(new Charsmap);
  map->trie_.resize(trie_bytes / 4);
  std::memcpy(map->trie_.data(), bytes.data() + sizeof trie_bytes, trie_bytes);
  map->texts_ = std::string(bytes.substr(sizeof trie_bytes + trie_bytes));
  if (!IsValidUtf8(map->texts_)) return absl::DataLossError("has texts that are not UTF-8");
  return map;
}

bool Charsmap::AppendEntry(std::string_view text, std::string* out) const {
  size_t node = OffsetOf(trie_[0]);
  for (size_t i = 0; i < text.size() && text[i] != 0; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    if (node >= trie_.size() || LabelOf(trie_[node]) != byte) return false;
    const uint32_t unit = trie_[node];
    node ^= OffsetOf(unit);
    if (!HasLeaf(unit)) continue;
    const size_t at = node < trie_.size() ? ValueOf(trie_[node]) : texts_.size() + 1;
    if (at > texts_.size()) return false;
    // Looked for no further than it may be long.
    const size_t most = kMaxCharsmapGrowth * (i + 1) + 1;
    const std::string_view rest = std::string_view(texts_).substr(at, most);
    const size_t size = std::min(rest.find('\0'), rest.size());
    const bool whole = size == 0 || (static_cast<uint8_t>(texts_[at]) & 0xc0) != 0x80;
    if (!whole || size > kMaxCharsmapGrowth * (i + 1)) return false;
    out->append(texts_, at, size);
    return true;
  }
  return false;
}

void Charsmap::AppendCharacters(std::string_view text, std::string* out) const {
  for (size_t at = 0; at < text.size();) {
    const std::string_view character = text.substr(at, ReadCodePoint(text, at).size);
    if (!AppendEntry(character, out)) out->append(character);
    at += character.size();
  }
}

std::string Charsmap::Apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  const auto append = [&](std::string_view grapheme) {
    if (grapheme.size() > kLongestGrapheme || !AppendEntry(grapheme, &out)) {
      AppendCharacters(grapheme, &out);
    }
  };
  if (!IsAscii(text)) {
    // ICU fails only where memory does.
    CATENA_CHECK(ForEachGrapheme(text, append));
    return out;
  }
  for (size_t at = 0; at < text.size();) {  // of ASCII only CR LF is more than a character
    const size_t n = text.substr(at).starts_with("\r\n") ? 2 : 1;
    append(text.substr(at, n));
    at += n;
  }
  return out;
}

}  // namespace catena
