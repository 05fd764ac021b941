// A sequence at a head: its ids, what is sampled of it, the results that are not known to have
// come.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "model/sampler/sampler.h"
#include "model/sampler/token_history.h"
#include "runtime/chain/core.h"
#include "runtime/chain/intake.h"

namespace catena {

struct HeadSequence {
  HeadSequence(OpenHead open, Sampler sampler, int64_t row_bytes);

  // As ReceivingSequence (receiving_end.h) says. Its length counts ids.
  int64_t Length() const { return intake.inbox.begin(); }
  bool Runnable() const { return RunnableRows() > 0; }
  void Queued(const Step& step);
  void BeginRound(int64_t) {}
  int64_t Forget(int64_t position);

  // Every position is scored and none sampled.
  bool scores() const { return open.score_top > 0; }
  int64_t RunnableRows() const;
  // An id was guessed to follow, and is not what was sampled: it and those after it will be rolled
  // back, and the rows of them say nothing.
  bool rejected() const;
  // What comes of the logits (vocab_size) of the next position: the token after it, unless it was
  // sampled before. REQUIRES: !rejected().
  absl::StatusOr<std::optional<Token>> TakeRow(int64_t position, LogitSource& logits, int64_t row,
                                               SamplerScratch* scratch);
  // Results for positions below have come.
  void Confirm(int64_t position);
  SequenceView View() const;

  Intake intake;
  const OpenHead open;
  struct Result {
    Token token;
    Instant sent;
  };
  std::deque<Result> results;  // not known to have come

 private:
  absl::StatusOr<SampledToken> Score(int64_t position, absl::Span<const float> logits,
                                     LogSoftmax* softmax) const;

  const Sampler sampler_;
  TokenHistory history_;      // of the positions whose logits were sampled, or had none
  std::vector<int32_t> ids_;  // of all that were received
  // The first position that has no token yet. What was sampled stays so: a round that begins before
  // it has other rotary factors, or had other guesses, and the same text.
  int64_t next_token_;
  std::optional<int32_t> last_sampled_;  // the token before that, where it was sampled here
  std::vector<int32_t> consumed_;        // scratch
};

}  // namespace catena
