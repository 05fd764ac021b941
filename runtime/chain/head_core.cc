#include "runtime/chain/head_core.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "model/sampler/token_history.h"
#include "runtime/score.h"

namespace catena {
namespace {

bool Scores(const OpenHead& open) { return open.score_top > 0; }

}  // namespace

struct HeadCore::Sequence final : ReceivingSequence {
  Sequence(OpenHead o, Sampler s, const HeadCoreOptions& options)
      : ReceivingSequence(o.sequence, o.life,
                          {.rows_from = o.first_wanted,
                           .row_bytes = options.row_bytes,
                           .max_length = o.max_length,
                           .window = o.window_rows,
                           .begin = static_cast<int64_t>(o.ids.size())}),
        open(std::move(o)),
        sampler(std::move(s)),
        history(open.prompt_length),
        ids(open.ids) {
    history.Append(ids);
  }

  OpenHead open;
  Sampler sampler;
  TokenHistory history;      // of the positions whose logits were sampled, or had none
  std::vector<int32_t> ids;  // of all that were received
  struct Result {
    Token token;
    Instant sent;
  };
  std::deque<Result> results;  // not known to have come
  bool rejected = false;       // rows from here on are of ids that will be rolled back
};

// --- messages ---

void HeadCore::OnOther(Incarnation from, ChainMessage& message, Instant now) {
  auto* open = std::get_if<OpenHead>(&message);
  if (open == nullptr || open->sequence.gateway != from) return;
  Renew(from, now);
  const SequenceKey key = open->sequence;
  const Life life = open->life;
  const ReceivingSequence* s = Find(key);
  if (s != nullptr && life.epoch < s->life.epoch) return;
  if (s == nullptr || life.epoch > s->life.epoch) {
    CloseSequence(key);
    const absl::Status status = Admit(std::move(*open));
    if (!status.ok()) return Refuse(key, life, status);
    s = Find(key);
  }
  Send(from, Lane::kControl, Opened{key, life, s->inbox.begin()});
}

absl::Status HeadCore::CheckOpen(const OpenHead& open) const {
  const bool sane = 0 < open.prompt_length && open.prompt_length <= open.max_length &&
                    0 <= open.first_wanted && open.first_wanted < open.max_length &&
                    0 < open.window_rows && open.window_rows <= limits::kMaxWindowRows &&
                    0 <= open.score_top && open.score_top <= limits::kMaxTopLogprobs &&
                    static_cast<int64_t>(open.ids.size()) <= open.max_length;
  if (!sane) return absl::InvalidArgumentError("an Open with values out of their ranges");
  if (open.max_length > options_.max_positions) {
    return absl::InvalidArgumentError(
        fmt::format("a sequence of {} positions is over the {} that this head takes",
                    open.max_length, options_.max_positions));
  }
  for (int32_t id : open.ids) {
    if (id < 0 || id >= options_.vocab_size) {
      return absl::InvalidArgumentError(
          fmt::format("token id {} is outside the vocabulary of {}", id, options_.vocab_size));
    }
  }
  if (size() >= limits::kMaxSequences) {
    return absl::ResourceExhaustedError("this head has its limit of open sequences");
  }
  return absl::OkStatus();
}

absl::Status HeadCore::Admit(OpenHead open) {
  CATENA_RETURN_IF_ERROR(CheckOpen(open));
  CATENA_ASSIGN_OR_RETURN(Sampler sampler, Sampler::Make(open.params, options_.vocab_size));
  Insert(std::make_unique<Sequence>(std::move(open), std::move(sampler), options_));
  return absl::OkStatus();
}

void HeadCore::OnQueued(ReceivingSequence* r, const Step& step) {
  auto* s = static_cast<Sequence*>(r);
  const auto known = static_cast<int64_t>(s->ids.size());
  s->ids.insert(s->ids.end(), step.ids.begin() + (known - step.position), step.ids.end());
  // Ids without rows need no work: they are history at once.
  const int64_t without_rows = std::min(s->inbox.end(), s->open.first_wanted) - s->inbox.begin();
  if (without_rows <= 0) return;
  popped_.clear();
  std::vector<RowRun> none;
  s->inbox.Pop(without_rows, &popped_, &none);
  s->history.Append(popped_);
  Acknowledge(s);
}

void HeadCore::OnRenewed(ReceivingSequence* r, int64_t taken, Instant now) {
  auto* s = static_cast<Sequence*>(r);
  while (!s->results.empty() && s->results.front().token.position < taken) s->results.pop_front();
  for (Sequence::Result& result : s->results) {
    if (now - result.sent < limits::kRetry) continue;
    Collect(result.token);
    result.sent = now;
  }
  SendTokens();
}

int64_t HeadCore::Forget(ReceivingSequence* r, int64_t position) {
  auto* s = static_cast<Sequence*>(r);
  s->history.Truncate(std::min(position, s->history.size()));
  s->ids.resize(static_cast<size_t>(position));
  s->rejected = false;
  std::erase_if(s->results,
                [position](const auto& result) { return result.token.position > position; });
  return position;
}

// --- batches ---

// The score of a position is of the id after it, which may be in a message to come.
int64_t HeadCore::RunnableRows(const Sequence& s) const {
  const bool looks_ahead = Scores(s.open) && s.inbox.end() < s.open.prompt_length;
  return s.inbox.queued() - (looks_ahead ? 1 : 0);
}

bool HeadCore::Runnable(const ReceivingSequence& s) const {
  return RunnableRows(static_cast<const Sequence&>(s)) > 0;
}

const std::vector<RowRun>* HeadCore::NextBatch(Instant now) {
  CATENA_CHECK(running_.empty());
  batch_.clear();
  spans_.clear();
  batch_rows_ = 0;
  while (!ready_.empty() && batch_rows_ < options_.max_rows) {
    auto* s = static_cast<Sequence*>(ready_.front());
    ready_.pop_front();
    const int64_t rows = std::min(RunnableRows(*s), options_.max_rows - batch_rows_);
    running_.push_back(s);
    spans_.push_back({.first_position = s->inbox.begin(), .rows = rows});
    popped_.clear();
    s->inbox.Pop(rows, &popped_, &batch_);
    s->ready = false;
    s->running = true;
    batch_rows_ += rows;
  }
  Started(now);
  return batch_.empty() ? nullptr : &batch_;
}

void HeadCore::Complete(const float* logits, Instant now) {
  for (size_t i = 0; i < running_.size(); ++i) {
    auto* s = static_cast<Sequence*>(running_[i]);
    for (int64_t row = 0; row < spans_[i].rows; ++row, logits += options_.vocab_size) {
      if (s->closed || s->rewind || s->rejected) continue;  // of another id, or nobody's
      const absl::Status status = TakeRow(s, spans_[i].first_position + row, logits, now);
      if (!status.ok()) Refuse(s->key, s->life, status);
    }
  }
  SendTokens();
  Finished(batch_rows_, now);
}

absl::Status HeadCore::TakeRow(Sequence* s, int64_t position, const float* logits, Instant now) {
  const absl::Span<const float> row(logits, static_cast<size_t>(options_.vocab_size));
  s->history.Append(s->ids[position]);
  Token token{.sequence = s->key, .life = s->life, .position = position + 1, .token = {}};
  if (Scores(s->open)) {
    CATENA_ASSIGN_OR_RETURN(token.token, Score(*s, position, row));
  } else {
    CATENA_ASSIGN_OR_RETURN(token.token,
                            s->sampler.Sample(row, s->history, s->open.sequence_index, &scratch_));
  }
  if (token.position < s->open.first_token) return absl::OkStatus();
  const bool guessed = !Scores(s->open) && token.position < static_cast<int64_t>(s->ids.size());
  s->rejected = guessed && s->ids[token.position] != token.token.id;
  Collect(token);
  s->results.push_back({std::move(token), now});
  return absl::OkStatus();
}

absl::StatusOr<SampledToken> HeadCore::Score(const Sequence& s, int64_t position,
                                             absl::Span<const float> logits) const {
  CATENA_ASSIGN_OR_RETURN(const double sum, LogSumExp(logits));
  SampledToken score;
  for (int32_t id : LargestIds(logits, static_cast<size_t>(s.open.score_top))) {
    score.top.push_back({id, static_cast<float>(logits[id] - sum)});
  }
  if (position + 1 < s.open.prompt_length) {
    score.id = s.ids[position + 1];
    score.logprob = static_cast<float>(logits[score.id] - sum);
  }
  return score;
}

// --- messages being put together ---

void HeadCore::Collect(const Token& token) {
  const Incarnation to = token.sequence.gateway;
  auto it = std::find_if(tokens_.begin(), tokens_.end(), [&](auto& t) {
    return t.first == to && t.second.tokens.size() < limits::kMaxMessageSteps;
  });
  if (it == tokens_.end()) it = tokens_.insert(it, {to, {}});
  it->second.tokens.push_back(token);
}

void HeadCore::SendTokens() {
  for (auto& [to, tokens] : tokens_) Send(to, Lane::kControl, std::move(tokens));
  tokens_.clear();
}

// --- what it tells of itself ---

std::optional<SequenceView> HeadCore::View(const SequenceKey& key) {
  const auto* s = static_cast<Sequence*>(Find(key));
  if (s == nullptr) return std::nullopt;
  return SequenceView{
      .life = s->life,
      .length = s->inbox.begin(),
      .queued_end = s->inbox.end(),
      .cursor = s->history.size(),
      .journal_begin = s->results.empty() ? s->history.size() : s->results.front().token.position,
      .window_end = s->open.max_length};
}

}  // namespace catena
