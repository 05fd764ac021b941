// A sequence at a head: its ids, what is sampled of it, the results that are not known to have
// come.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <deque>
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
  // What comes of the logits (vocab_size) of the next position: its token, unless the gateway has
  // it already.
  absl::StatusOr<std::optional<Token>> TakeRow(int64_t position, absl::Span<const float> logits,
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
  bool rejected = false;       // rows from here on are of ids that will be rolled back

 private:
  absl::StatusOr<SampledToken> Score(int64_t position, absl::Span<const float> logits) const;

  const Sampler sampler_;
  TokenHistory history_;           // of the positions whose logits were sampled, or had none
  std::vector<int32_t> ids_;       // of all that were received
  std::vector<int32_t> consumed_;  // scratch
};

}  // namespace catena
