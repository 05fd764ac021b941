// SentencePiece's own normalisation: a table of texts and what becomes of them, which a vocabulary
// carries as "precompiled_charsmap". Exactly huggingface/tokenizers' normalizers/precompiled.rs and
// its crate spm_precompiled: a grapheme of fewer than six bytes is looked for as a whole, all
// others character by character, and of the entries that begin a text the shortest counts.
//
//   uint32 bytes of the trie; the trie, units of 32 bits; texts, each ended by a zero byte
// The trie is a double array (Darts-clone, https://github.com/s-yata/darts-clone).
//
// Every byte is hostile: no step leaves the trie or the texts, and what would make a text longer
// than kMaxCharsmapGrowth times is no entry. Immutable; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/status.h"

namespace catena {

// Times that an entry's text may be as long as what it stands for; NFKC has one of 11.
inline constexpr size_t kMaxCharsmapGrowth = 16;

class Charsmap {
 public:
  // DATA_LOSS where the bytes are no such table.
  static absl::StatusOr<std::shared_ptr<const Charsmap>> Parse(std::string_view bytes);

  // REQUIRES: valid UTF-8.
  std::string Apply(std::string_view text) const;

 private:
  Charsmap() = default;

  void AppendCharacters(std::string_view text, std::string* out) const;
  // Appends what becomes of `text`, and gives true, where an entry begins it.
  bool AppendEntry(std::string_view text, std::string* out) const;

  std::vector<uint32_t> trie_;
  std::string texts_;  // valid UTF-8
};

}  // namespace catena
