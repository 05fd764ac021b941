#include "model/tokenizer/added_tokens.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "model/tokenizer/unicode.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

bool IsWordBefore(std::string_view text, size_t at) {
  return at > 0 && (CharClasses::Get()(ReadCodePointBefore(text, at).value) & kWord) != 0;
}

bool IsWordAt(std::string_view text, size_t at) {
  return at < text.size() && (CharClasses::Get()(ReadCodePoint(text, at).value) & kWord) != 0;
}

size_t SkipSpaceBack(std::string_view text, size_t at, size_t floor) {
  while (at > floor) {
    const CodePoint c = ReadCodePointBefore(text, at);
    if ((CharClasses::Get()(c.value) & kSpace) == 0) break;
    at -= c.size;
  }
  return at;
}

size_t SkipSpace(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint c = ReadCodePoint(text, at);
    if ((CharClasses::Get()(c.value) & kSpace) == 0) break;
    at += c.size;
  }
  return at;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<Entry> entries)
    : entries_(std::move(entries)), entry_at_{kNone} {
  for (size_t i = 0; i < entries_.size(); ++i) {
    const std::string& pattern = entries_[i].pattern;
    if (pattern.empty()) continue;
    starts_[static_cast<uint8_t>(pattern[0])] = true;
    int32_t node = 0;
    for (const char byte : pattern) {
      const uint64_t key = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
      auto [it, added] = children_.emplace(key, static_cast<int32_t>(entry_at_.size()));
      node = it->second;
      if (added) entry_at_.push_back(kNone);
    }
    if (entry_at_[node] == kNone) entry_at_[node] = static_cast<int32_t>(i);
  }
  if (std::count(starts_.begin(), starts_.end(), true) == 1) {
    only_start_ =
        static_cast<int>(std::find(starts_.begin(), starts_.end(), true) - starts_.begin());
  }
}

int32_t AddedTokenMatcher::Child(int32_t node, char byte) const {
  const auto it = children_.find(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte));
  return it == children_.end() ? kNone : it->second;
}

AddedTokenMatcher::Match AddedTokenMatcher::Find(std::string_view text, size_t from) const {
  for (size_t at = from; at < text.size(); ++at) {
    if (only_start_ >= 0) {
      const void* hit = std::memchr(text.data() + at, only_start_, text.size() - at);
      if (hit == nullptr) break;
      at = static_cast<size_t>(static_cast<const char*>(hit) - text.data());
    } else if (!starts_[static_cast<uint8_t>(text[at])]) {
      continue;
    }
    Match best;
    int32_t node = 0;
    for (size_t i = at; i < text.size() && (node = Child(node, text[i])) != kNone; ++i) {
      if (entry_at_[node] != kNone) best = {entry_at_[node], at, i + 1};
    }
    if (best.entry != kNone) return best;
  }
  return {};
}

void AddedTokenMatcher::Split(std::string_view text, std::string_view mark, Emit emit) const {
  size_t done = 0;                      // everything before is emitted
  size_t space_from = 0, space_to = 0;  // white space known to reach from the one to the other
  Match m;
  for (size_t from = 0; (m = Find(text, from)).entry != kNone;) {
    from = m.end;
    const AddedToken& token = entries_[m.entry].token;
    if (!mark.empty() && text.substr(m.end).starts_with(mark)) continue;  // of one character
    if (token.single_word && (IsWordBefore(text, m.start) || IsWordAt(text, m.end))) continue;
    size_t start = m.start, end = m.end;
    // What the token before took along is not taken again.
    if (token.lstrip) start = std::max(SkipSpaceBack(text, start, std::min(done, start)), done);
    if (token.rstrip) {
      if (end < space_from || end > space_to) {
        space_from = end;
        space_to = SkipSpace(text, end);
      }
      end = space_to;
    }
    if (done < start) emit(text.substr(done, start - done), nullptr);
    emit({}, &token);
    done = end;
  }
  if (done < text.size()) emit(text.substr(done), nullptr);
}

std::string AddedTokenMatcher::Break(std::string_view text, std::string_view mark) const {
  std::string out;
  size_t done = 0;
  for (Match m; (m = Find(text, done)).entry != kNone;) {
    size_t end = m.start + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    out.append(text.substr(done, end - done)).append(mark);
    done = end;
  }
  return out.append(text.substr(done));
}

}  // namespace catena
