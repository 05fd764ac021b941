// Guesses the next tokens of a text from the text itself: what followed when its last few tokens
// stood together before (prompt lookup decoding, A. Saxena 2023). Several guesses are checked in
// one pass by the same sampler at the same positions, so that they cost rows and change no token.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace catena {

class PromptLookup {
 public:
  // At most `max_drafts` guesses at a time, 0 for none.
  explicit PromptLookup(int64_t max_drafts) : max_drafts_(max_drafts), drafts_(max_drafts) {}

  // What may follow `ids`, at most `room` tokens, and none where nothing is like their end.
  void Propose(absl::Span<const int32_t> ids, int64_t room, std::vector<int32_t>* drafts) const;

  // Of the last guesses, the first `accepted` were right. Texts that repeat themselves get more at
  // a time, others fewer, since each is a row to compute.
  void Judge(int64_t proposed, int64_t accepted) {
    drafts_ = accepted == proposed ? std::min(2 * drafts_, max_drafts_)
                                   : std::min(accepted + 1, max_drafts_);
  }

 private:
  int64_t max_drafts_;
  int64_t drafts_;  // to be guessed at a time now
};

}  // namespace catena
