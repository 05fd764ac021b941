// Finds the added tokens (<|user|>, </s>) in text, before anything else looks at it: the longest
// one at the leftmost place, then onwards behind it (huggingface/tokenizers,
// tokenizer/added_vocabulary.rs). Immutable; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace catena {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and the white space behind it
  bool normalized = false;   // is looked for, normalized, in normalized text
  bool special = false;      // left out of a decode that skips special tokens
};

inline constexpr size_t kMaxAddedTokenBytes = 1024;  // bounds the work at each place of a text

class AddedTokenMatcher {
 public:
  // `pattern`: what is looked for in place of the content.
  struct Entry {
    std::string pattern;
    AddedToken token;
  };
  using Emit = absl::FunctionRef<void(std::string_view segment, const AddedToken* token)>;

  // Of equal patterns the first counts, empty ones never match.
  // REQUIRES: patterns of at most kMaxAddedTokenBytes.
  explicit AddedTokenMatcher(std::vector<Entry> entries = {});

  bool empty() const { return entries_.empty(); }

  // Calls `emit` with each segment between tokens (token null; never empty) and with each token,
  // in order. What Break broke with `mark` is plain text; "": nothing was. REQUIRES: valid UTF-8.
  void Split(std::string_view text, std::string_view mark, Emit emit) const;

  // `text` with `mark` in every place where a pattern matches, behind the match's first character.
  // REQUIRES: valid UTF-8.
  std::string Break(std::string_view text, std::string_view mark) const;

 private:
  static constexpr int32_t kNone = -1;
  struct Match {
    int32_t entry = kNone;
    size_t start = 0, end = 0;
  };
  // The leftmost longest match at or after `from`.
  Match Find(std::string_view text, size_t from) const;
  int32_t Child(int32_t node, char byte) const;

  std::vector<Entry> entries_;
  // A trie: node 0 is the root, the key is node << 8 | byte.
  absl::flat_hash_map<uint64_t, int32_t> children_;
  std::vector<int32_t> entry_at_;      // by node, or kNone
  std::array<bool, 256> starts_ = {};  // bytes that start a pattern
  int only_start_ = -1;                // that byte, where there is one
};

}  // namespace catena
