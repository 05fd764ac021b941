// Text to token ids and back, exactly as huggingface/tokenizers does it for the same tokenizer.json
// (its text says what it is made of), or as the vocabulary inside a GGUF file says.
//
//   bytes: valid UTF-8 > added tokens > (segments) normalizer > pre-tokenizer > (pieces) BPE or
//   unigram model: ids
//
// Immutable: const methods may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

#include "kernels/base/status.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/gguf_vocabulary.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/token_decoder.h"
#include "model/tokenizer/tokenizer_config.h"
#include "model/tokenizer/unigram.h"
#include "model/tokenizer/vocabulary.h"

namespace catena {

class Checkpoint;

// What a tokenizer is made of; a reader of one file format fills it.
struct TokenizerParts {
  Vocabulary vocabulary;         // with the added tokens
  std::vector<BpeMerge> merges;  // best first
  BpeOptions bpe;
  std::optional<UnigramOptions> unigram = {};  // a unigram model: there is no BPE
  std::vector<AddedToken> added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  DecoderOptions decoder;
  int32_t bos_id = -1;  // -1: none is named
  bool add_bos = false;
  std::vector<int32_t> end_ids = {};  // that end a text; hidden like special tokens
};

struct EncodeOptions {
  // With what BreakSpecial broke the special tokens that are text; not encoded. "": nothing was.
  std::string_view mark = "";
};

class Tokenizer {
 public:
  // `source` (a path) starts every message. DATA_LOSS where the text is damaged, INVALID_ARGUMENT
  // where it asks for what is not supported, naming it.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromTokenizerJson(
      std::string_view text, std::string_view source, const TokenizerConfig& config = {});
  // `end_ids`: at which the file says that a text ends, besides the vocabulary's own.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromGguf(
      const GgufVocabulary& vocabulary, std::string_view source,
      absl::Span<const int32_t> end_ids = {});
  // From whichever of the two the model's files hold. NOT_FOUND where they hold neither.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromCheckpoint(
      const Checkpoint& checkpoint);

  explicit Tokenizer(TokenizerParts parts);
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Any bytes; what is not UTF-8 counts as U+FFFD (utf8.h). Adds no BOS or EOS. Time is linear in
  // the size but for runs that no merge boundary cuts: O(n log n), and for regular expressions,
  // which are bounded (regex.h): INVALID_ARGUMENT where a text passes the bounds. REQUIRES: < 2^31
  // bytes.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view bytes,
                                              const EncodeOptions& options = {}) const;

  // A text that strangers wrote, in which "<|end|>" is to stay text and not to end a turn: with
  // `mark`, which is not in it, in all that would become special tokens. Added tokens that are not
  // special are left. What is not UTF-8 counts as U+FFFD.
  std::string BreakSpecial(std::string_view bytes, std::string_view mark) const;

  // Ids that are no token give nothing.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const;

  // For one sequence, one thread at a time; may outlive the tokenizer.
  StreamDecoder MakeStreamDecoder(bool skip_special) const {
    return StreamDecoder(decoder_, skip_special);
  }

  // A token as a human reads it, by itself: leading spaces kept, bytes that are no character
  // written <0xHH>. "" where there is no such token.
  std::string Piece(int32_t id) const { return ReadableBytes(Bytes(id)); }
  // The bytes it adds to a text; not always whole characters.
  std::string_view Bytes(int32_t id) const {
    return decoder_->Has(id) ? decoder_->Bytes(id) : std::string_view();
  }

  // One more than the largest id; a model's matrices may have more rows.
  int32_t vocab_size() const { return vocabulary_.size(); }
  // The id of the token that is spelled so in the file, or -1.
  int32_t IdOf(std::string_view token) const { return vocabulary_.FindAny(token); }
  // Left out of a decode that skips special tokens: special tokens, and those that end a text,
  // whatever their file marks them as.
  bool IsSpecial(int32_t id) const { return decoder_->Has(id) && decoder_->IsSpecial(id); }
  // Tokens that end a text: those that the files name, and those known by their texts.
  absl::Span<const int32_t> end_ids() const { return end_ids_; }
  // Whether the model was trained with a BOS before every text, and which; -1: none is named.
  bool add_bos() const { return add_bos_; }
  int32_t bos_id() const { return bos_id_; }

 private:
  struct EncodeState;
  void EncodeSegment(std::string_view segment, EncodeState* state) const;
  void EncodePart(std::string_view part, EncodeState* state) const;

  Vocabulary vocabulary_;
  Bpe bpe_;
  std::optional<Unigram> unigram_;  // instead
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  AddedTokenMatcher raw_added_, normalized_added_;
  AddedTokenMatcher special_;  // of both, as they are spelled
  std::shared_ptr<const TokenDecoder> decoder_;
  int32_t bos_id_;
  bool add_bos_;
  std::vector<int32_t> end_ids_;
};

}  // namespace catena
