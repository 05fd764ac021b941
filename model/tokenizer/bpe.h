// Byte-pair encoding of one piece of text: starts from characters (SentencePiece style, with byte
// fallback) or bytes (GPT-2 style), then joins the adjacent pair of lowest rank, leftmost first,
// until no pair can be joined. Exactly huggingface/tokenizers' models/bpe (model.rs, word.rs).
//
// A piece may be as long as the text (Phi-3 has no pre-tokenizer). It is cut wherever no merge of
// the vocabulary can join its two neighbours, which changes nothing and keeps runs short; a run
// that stays long (a line of spaces) goes through a heap, O(n log n).
//
// Immutable once made; any thread, each with its own Workspace.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"

#include "kernels/base/status.h"
#include "model/tokenizer/vocabulary.h"

namespace catena {

// Joins `left` and `right` to `result`. The rank is the place in the list.
struct BpeMerge {
  int32_t left, right, result;
};

struct BpeOptions {
  bool byte_level = false;     // symbols are bytes, spelled as in byte_level.h
  bool byte_fallback = false;  // an unknown character is its bytes' tokens <0x00> to <0xFF>
  bool fuse_unk = false;       // neighbouring unknown characters are one unk
  bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges
  int32_t unk_id = -1;         // -1: unknown characters are dropped
};

class Bpe {
 public:
  struct Workspace {
    std::vector<int32_t> run;
    std::vector<uint32_t> ranks, previous, next;
    std::vector<uint64_t> heap;
    std::string spelling;
    uint64_t merges_looked_up = 0;  // counts work, for the tests
  };

  Bpe() = default;
  // `vocabulary` must outlive the result and stay where it is.
  Bpe(const Vocabulary* vocabulary, const std::vector<BpeMerge>& merges, const BpeOptions& options);

  // Appends the ids of `piece` to `out`. REQUIRES: valid UTF-8 (unless byte_level), < 2^32 bytes.
  void Encode(std::string_view piece, Workspace* w, std::vector<int32_t>* out) const;

 private:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  static constexpr uint16_t kSlowClass = 256;
  struct Joined {
    uint32_t rank;
    int32_t id;
  };
  struct Symbol {
    int32_t id = -1;
    uint16_t cls = kSlowClass;  // index into crossable_, or kSlowClass: ask crossable_slow_
  };

  void IndexSymbols();
  void IndexCrossings(const std::vector<BpeMerge>& merges);
  Symbol SymbolOf(char32_t c) const;
  bool MayJoin(const Symbol& a, const Symbol& b) const;
  Joined Lookup(int32_t left, int32_t right, Workspace* w) const;
  void EncodeBytes(std::string_view piece, Workspace* w, std::vector<int32_t>* out) const;
  void EncodeChars(std::string_view piece, Workspace* w, std::vector<int32_t>* out) const;
  // Appends a symbol to the run, after finishing the run where no merge can join the two.
  void Add(const Symbol& s, Symbol* last, Workspace* w, std::vector<int32_t>* out) const;
  void Finish(Workspace* w, std::vector<int32_t>* out) const;
  void MergeShort(Workspace* w) const;
  void MergeLong(Workspace* w) const;

  const Vocabulary* vocabulary_ = nullptr;
  BpeOptions options_;
  absl::flat_hash_map<uint64_t, Joined> merges_;  // left << 32 | right
  std::array<Symbol, 256> direct_;                // of bytes, or of characters below 256
  absl::flat_hash_map<char32_t, Symbol> chars_;   // of the other characters
  std::array<int32_t, 256> byte_ids_;             // <0x00> to <0xFF>, -1 where absent
  bool cut_ = false;                              // the crossing tables below hold
  std::vector<bool> crossable_;                   // (256, 256): left class, right class
  absl::flat_hash_set<uint64_t> crossable_slow_;  // left id << 32 | right id
  size_t longest_token_bytes_ = 0;
};

}  // namespace catena
