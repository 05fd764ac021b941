#include "runtime/chain/head_sequence.h"

#include <algorithm>
#include <utility>

#include "runtime/chain/reached.h"

namespace catena {

HeadSequence::HeadSequence(OpenHead o, Sampler sampler, int64_t row_bytes)
    : intake(o, {.rows_from = o.first_wanted,
                 .row_bytes = row_bytes,
                 .max_length = o.max_length,
                 .window = o.window_rows,
                 .begin = static_cast<int64_t>(o.ids.size())}),
      open(std::move(o)),
      sampler_(std::move(sampler)),
      history_(open.prompt_length),
      ids_(open.ids),
      next_token_(open.first_token) {
  history_.Append(ids_);
}

void HeadSequence::Queued(const Step& step) {
  const auto known = static_cast<int64_t>(ids_.size());
  ids_.insert(ids_.end(), step.ids.begin() + (known - step.position), step.ids.end());
  // Ids without rows need no work: they are history at once.
  const int64_t without_rows =
      std::min(intake.inbox.end(), open.first_wanted) - intake.inbox.begin();
  if (without_rows <= 0) return;
  CATENA_REACHED(kHeadTakesIdsAlone);
  consumed_.clear();
  std::vector<RowRun> none;
  intake.inbox.Consume(without_rows, &consumed_, &none);
  history_.Append(consumed_);
}

int64_t HeadSequence::Forget(int64_t position) {
  const int64_t to = std::min(position, history_.size());
  history_.Truncate(to);
  ids_.resize(static_cast<size_t>(to));
  return to;
}

bool HeadSequence::rejected() const {
  const int64_t position = next_token_ - 1;
  return last_sampled_ && position < static_cast<int64_t>(ids_.size()) &&
         ids_[position] != *last_sampled_;
}

// The score of a position is of the id after it, which may be in a message to come.
int64_t HeadSequence::RunnableRows() const {
  const bool looks_ahead = scores() && intake.inbox.end() < open.prompt_length;
  if (looks_ahead) CATENA_REACHED(kScoreAwaitsItsId);
  return intake.inbox.queued() - (looks_ahead ? 1 : 0);
}

absl::StatusOr<std::optional<Token>> HeadSequence::TakeRow(int64_t position, LogitSource& logits,
                                                           int64_t row, SamplerScratch* scratch) {
  history_.Append(ids_[position]);
  if (position + 1 < next_token_) {
    CATENA_REACHED(kRowWasSampledBefore);
    return std::nullopt;
  }
  Token token{.sequence = intake.key, .life = intake.life, .position = position + 1, .token = {}};
  if (scores()) {
    CATENA_ASSIGN_OR_RETURN(token.token, Score(position, logits.All(row), &scratch->log_softmax));
  } else {
    CATENA_ASSIGN_OR_RETURN(token.token,
                            sampler_.Sample(logits, row, history_, open.sequence_index, scratch));
    last_sampled_ = token.token.id;
  }
  next_token_ = token.position + 1;
  return token;
}

absl::StatusOr<SampledToken> HeadSequence::Score(int64_t position, absl::Span<const float> logits,
                                                 LogSoftmax* softmax) const {
  CATENA_RETURN_IF_ERROR(softmax->Take(logits, position + 1));
  SampledToken score;
  score.top = softmax->Top(static_cast<size_t>(open.score_top));
  if (position + 1 < open.prompt_length) {
    score.id = ids_[position + 1];
    score.logprob = static_cast<float>(softmax->logprob(score.id));
  }
  return score;
}

void HeadSequence::Confirm(int64_t position) {
  while (!results.empty() && results.front().token.position < position) results.pop_front();
}

SequenceView HeadSequence::View() const {
  return {.life = intake.life,
          .length = intake.inbox.begin(),
          .queued_end = intake.inbox.end(),
          .cursor = history_.size(),
          .journal_begin = results.empty() ? history_.size() : results.front().token.position,
          .window_end = open.max_length};
}

}  // namespace catena
