// SentencePiece's unigram model (Kudo, Subword Regularization, 2018): of all ways to cut a piece of
// text into tokens, the one whose scores sum to the most, found by Viterbi's algorithm. Exactly
// huggingface/tokenizers' models/unigram/model.rs (encode_optimized), its order of sums included;
// but that reads a score of 17 digits to within a bit only, and so may take another of two cuts
// whose sums are the same but for the last bits, as a line of dots has.
//
// Work is linear in the text: at each character the tokens that begin there are looked for, of
// which none is longer than kMaxUnigramTokenBytes. 16 bytes of memory a byte of the piece.
//
// Immutable once made; any thread, each with its own Workspace.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "model/tokenizer/vocabulary.h"

namespace catena {

// SentencePiece makes none longer than 16 characters unless it is told to.
inline constexpr size_t kMaxUnigramTokenBytes = 256;

struct UnigramOptions {
  std::vector<double> scores;  // by id, of the model's own tokens; not empty
  int32_t unk_id = 0;  // of an unknown character, or of several in a row; below scores.size()
  bool byte_fallback = false;  // an unknown text is its bytes' tokens <0x00> to <0xFF>
  // Control tokens, which no text is cut into: here the reference differs, whose model finds them
  // in text that normalization makes.
  std::vector<int32_t> control;
};

class Unigram {
 public:
  struct Workspace {
    // The best way to cut what ends at a place.
    struct Node {
      double score = 0;
      int32_t id = 0;
      uint32_t start = 0;  // of its last token; kNone: no way
    };
    struct Span {
      uint32_t begin, end;
    };
    std::vector<Node> nodes;
    std::vector<Span> spans;
  };

  // `vocabulary` must outlive the result and stay where it is; none of its first scores.size()
  // tokens is longer than kMaxUnigramTokenBytes.
  Unigram(const Vocabulary* vocabulary, UnigramOptions options);

  // Appends the ids of `piece` to `out`. REQUIRES: valid UTF-8, < 2^32 - 1 bytes.
  void Encode(std::string_view piece, Workspace* w, std::vector<int32_t>* out) const;

 private:
  // Tokens sorted_[begin, end).
  struct Range {
    uint32_t begin = 0, end = 0;
  };

  // Those of `range` whose byte at `depth` is `byte`. REQUIRES: they share the bytes before it.
  Range Narrow(Range range, size_t depth, uint8_t byte) const;
  // Goes on from the place `at` of the piece to all that tokens reach.
  void Relax(std::string_view piece, size_t at, Workspace* w) const;
  // The token of a text; -1: none, or a control token.
  int32_t Find(std::string_view text) const;
  void AppendIds(std::string_view text, std::vector<int32_t>* out) const;

  const Vocabulary* vocabulary_;
  UnigramOptions options_;
  double unk_score_ = 0;
  std::vector<bool> is_control_;       // by id
  std::vector<int32_t> sorted_;        // ids by text, byte by byte; each text once
  std::array<Range, 256> first_;       // by the first byte
  std::array<int32_t, 256> byte_ids_;  // <0x00> to <0xFF>, -1 where absent
};

}  // namespace catena
