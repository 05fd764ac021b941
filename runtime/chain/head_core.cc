#include "runtime/chain/head_core.h"

#include <algorithm>
#include <utility>

#include "runtime/score.h"

namespace catena {
namespace {

constexpr Lane kReplyLane = Lane::kDecode;

bool Scores(const OpenHead& open) { return open.score_top > 0; }

}  // namespace

HeadCore::Sequence::Sequence(OpenHead o, Sampler s, const HeadCoreOptions& options)
    : open(std::move(o)),
      sampler(std::move(s)),
      inbox({.rows_from = open.first_wanted,
             .row_bytes = options.row_bytes,
             .max_length = open.max_length,
             .window = limits::kMaxWindowRows,
             .begin = static_cast<int64_t>(open.ids.size())}),
      history(open.prompt_length),
      ids(open.ids) {
  history.Append(ids);
}

void HeadCore::Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) {
  std::visit([&](auto& m) { On(from, lane, m, now); }, message);
  SendTokens();
}

absl::Status HeadCore::CheckOpen(const OpenHead& open) const {
  const bool sane = 0 < open.prompt_length && open.prompt_length <= open.max_length &&
                    0 <= open.first_wanted && open.first_wanted < open.max_length &&
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
  if (table_.size() >= limits::kMaxSequences) {
    return absl::ResourceExhaustedError("this head has its limit of open sequences");
  }
  return absl::OkStatus();
}

absl::Status HeadCore::Admit(OpenHead open) {
  CATENA_RETURN_IF_ERROR(CheckOpen(open));
  CATENA_ASSIGN_OR_RETURN(Sampler sampler, Sampler::Make(open.params, options_.vocab_size));
  const SequenceKey key = open.sequence;
  table_.Insert(key, std::make_unique<Sequence>(std::move(open), std::move(sampler), options_));
  return absl::OkStatus();
}

void HeadCore::On(Incarnation from, Lane, OpenHead& open, Instant now) {
  if (open.sequence.gateway != from) return;
  table_.Renew(from, now);
  const SequenceKey key = open.sequence;
  const Life life = open.life;
  Sequence* s = table_.Find(key);
  if (s != nullptr && life.epoch < s->open.life.epoch) return;
  if (s == nullptr || life.epoch > s->open.life.epoch) {
    if (s != nullptr) CloseSequence(key);
    if (absl::Status status = Admit(std::move(open)); !status.ok()) {
      Send(from, Lane::kControl, Refused{key, life, status});
      return;
    }
    s = table_.Find(key);
  }
  Send(from, Lane::kControl, Opened{key, life, s->inbox.begin()});
}

void HeadCore::On(Incarnation from, Lane, Close& close, Instant) {
  if (close.sequence.gateway == from) CloseSequence(close.sequence);
}

void HeadCore::On(Incarnation from, Lane, Heartbeat& heartbeat, Instant now) {
  table_.Renew(from, now);
  for (const SequenceKey& key : table_.Unnamed(from, heartbeat)) CloseSequence(key);
  for (const Heartbeat::Entry& entry : heartbeat.open) {
    Sequence* s = table_.Find(entry.sequence);
    if (s == nullptr || entry.sequence.gateway != from) continue;
    while (!s->results.empty() && s->results.front().token.position < entry.taken) {
      s->results.pop_front();
    }
    for (Result& result : s->results) {
      if (now - result.sent < limits::kRetry) continue;
      Collect(result.token);
      result.sent = now;
    }
  }
}

void HeadCore::CloseSequence(const SequenceKey& key) {
  Sequence* s = table_.Find(key);
  if (s == nullptr) return;
  std::erase(ready_, s);
  if (!s->running) return table_.Erase(key);
  s->closed = true;
  closing_.push_back(table_.Extract(key));
}

void HeadCore::On(Incarnation from, Lane lane, Steps& steps, Instant now) {
  int64_t rows = 0;
  for (const Step& step : steps.steps) rows += step.rows();
  const size_t bytes = steps.rows == nullptr ? 0 : steps.rows->size();
  if (bytes != static_cast<size_t>(rows * options_.row_bytes)) return;  // a broken peer
  size_t offset = 0;
  for (Step& step : steps.steps) {
    TakeStep(from, lane, step, steps, offset, now);
    offset += static_cast<size_t>(step.rows() * options_.row_bytes);
  }
  SendAcknowledgements();
}

bool HeadCore::IsCurrent(Sequence* s, const Life& life, int64_t position) {
  Life& own = s->open.life;
  if (life.epoch != own.epoch || life.round < own.round) return false;
  if (life.round == own.round) return true;
  own.round = life.round;
  RewindTo(s, position);
  return true;
}

void HeadCore::TakeStep(Incarnation from, Lane lane, Step& step, const Steps& steps, size_t offset,
                        Instant now) {
  Sequence* s = table_.Find(step.sequence);
  if (s == nullptr) {
    Send(step.sequence.gateway, Lane::kControl, Unknown{step.sequence});
    return;
  }
  const bool known_ids = std::all_of(step.ids.begin(), step.ids.end(), [&](int32_t id) {
    return 0 <= id && id < options_.vocab_size;
  });
  if (!known_ids || !IsCurrent(s, step.life, step.position)) return;
  s->upstream = from;
  switch (s->inbox.Take(step, steps.rows, offset, steps.batch, lane, now)) {
    case Inbox::Result::kQueued:
      s->owes_lengths |= lane == Lane::kBulk;
      TakeIds(s, step);
      // Who feeds a token back has it.
      while (!Scores(s->open) && !s->results.empty() &&
             s->results.front().token.position < step.end()) {
        s->results.pop_front();
      }
      MarkReady(s);
      break;
    case Inbox::Result::kGap:
      AskUpstream(s, now);
      break;
    case Inbox::Result::kDiverged:
      ++divergences_;
      break;
    case Inbox::Result::kDuplicate:
    case Inbox::Result::kMalformed:
      break;
  }
}

// Ids without rows need no work: they are history at once.
void HeadCore::TakeIds(Sequence* s, const Step& step) {
  const auto known = static_cast<int64_t>(s->ids.size());
  s->ids.insert(s->ids.end(), step.ids.begin() + (known - step.position), step.ids.end());
  const int64_t without_rows = std::min(s->inbox.end(), s->open.first_wanted) - s->inbox.begin();
  if (without_rows <= 0) return;
  popped_.clear();
  s->inbox.Pop(without_rows, &popped_, &batch_);
  s->history.Append(popped_);
  Acknowledge(s);
}

void HeadCore::AskUpstream(Sequence* s, Instant now) {
  auto need = s->inbox.Ask(s->open.sequence, s->open.life, now, limits::kRetry);
  if (need && s->upstream != 0) Send(s->upstream, kReplyLane, *need);
}

void HeadCore::On(Incarnation from, Lane, SentLengths& sent, Instant now) {
  Lengths answer;
  for (const Length& l : sent.lengths) {
    Sequence* s = table_.Find(l.sequence);
    if (s == nullptr) {
      Send(l.sequence.gateway, Lane::kControl, Unknown{l.sequence});
      continue;
    }
    if (l.life != s->open.life) continue;
    s->upstream = from;
    if (s->inbox.end() < l.length) AskUpstream(s, now);
    answer.lengths.push_back({s->open.sequence, s->open.life, s->inbox.begin()});
  }
  if (!answer.lengths.empty()) Send(from, kReplyLane, std::move(answer));
}

void HeadCore::RewindTo(Sequence* s, int64_t position) {
  if (s->running) {
    s->rewind = std::min(position, s->rewind.value_or(position));
    return;
  }
  const int64_t to = std::min(position, s->inbox.begin());
  s->inbox.Rewind(to);
  s->history.Truncate(std::min(to, s->history.size()));
  s->ids.resize(static_cast<size_t>(to));
  std::erase_if(s->results, [to](const Result& r) { return r.token.position > to; });
  std::erase(ready_, s);
  s->ready = false;
}

std::optional<Instant> HeadCore::WakeAt() const {
  if (table_.size() == 0) return std::nullopt;
  return tick_at_;
}

void HeadCore::Tick(Instant now) {
  if (now < tick_at_) return;
  tick_at_ = now + limits::kHeartbeat;
  for (const SequenceKey& key : table_.Expired(now, limits::kLease)) CloseSequence(key);
}

// --- batches ---

// The score of a position is of the id after it, which may be in a message to come.
int64_t HeadCore::RunnableRows(const Sequence& s) const {
  const bool looks_ahead = Scores(s.open) && s.inbox.end() < s.open.prompt_length;
  return std::max<int64_t>(0, s.inbox.queued() - (looks_ahead ? 1 : 0));
}

void HeadCore::MarkReady(Sequence* s) {
  if (s->ready || s->running || RunnableRows(*s) == 0) return;
  s->ready = true;
  ready_.push_back(s);
}

const std::vector<RowRun>* HeadCore::NextBatch(Instant now) {
  CATENA_CHECK(running_.empty());
  batch_.clear();
  batch_rows_ = 0;
  while (!ready_.empty() && batch_rows_ < options_.max_rows) {
    Sequence* s = ready_.front();
    ready_.pop_front();
    const int64_t rows = std::min(RunnableRows(*s), options_.max_rows - batch_rows_);
    running_.push_back({.sequence = s, .first_position = s->inbox.begin(), .rows = rows});
    popped_.clear();
    s->inbox.Pop(rows, &popped_, &batch_);
    s->ready = false;
    s->running = true;
    batch_rows_ += rows;
  }
  started_ = now;
  return batch_.empty() ? nullptr : &batch_;
}

void HeadCore::Complete(const float* logits, Instant now) {
  ++batches_;
  rows_done_ += batch_rows_;
  for (const Span& span : running_) {
    Sequence* s = span.sequence;
    for (int64_t row = 0; row < span.rows; ++row, logits += options_.vocab_size) {
      if (s->closed) continue;
      const absl::Status status = TakeRow(s, span.first_position + row, logits, now);
      if (status.ok()) continue;
      const SequenceKey key = s->open.sequence;
      Send(key.gateway, Lane::kControl, Refused{key, s->open.life, status});
      CloseSequence(key);
    }
    s->running = false;
    if (s->closed) continue;
    if (s->rewind) RewindTo(s, *std::exchange(s->rewind, std::nullopt));
    MarkReady(s);
  }
  SendTokens();
  for (const Span& span : running_) {
    if (!span.sequence->closed) Acknowledge(span.sequence);
  }
  SendAcknowledgements();
  running_.clear();
  closing_.clear();
}

absl::Status HeadCore::TakeRow(Sequence* s, int64_t position, const float* logits, Instant now) {
  const absl::Span<const float> row(logits, static_cast<size_t>(options_.vocab_size));
  s->history.Append(s->ids[position]);
  Token token{
      .sequence = s->open.sequence, .life = s->open.life, .position = position + 1, .token = {}};
  if (Scores(s->open)) {
    CATENA_ASSIGN_OR_RETURN(token.token, Score(*s, position, row));
  } else {
    CATENA_ASSIGN_OR_RETURN(token.token,
                            s->sampler.Sample(row, s->history, s->open.sequence_index, &scratch_));
  }
  if (token.position < s->open.first_token) return absl::OkStatus();
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

void HeadCore::Acknowledge(Sequence* s) {
  const int64_t length = s->inbox.begin();
  const bool due = s->owes_lengths || length - s->acknowledged >= limits::kDefaultWindowRows / 2;
  if (!due || s->upstream == 0) return;
  if (s->inbox.empty()) s->owes_lengths = false;
  s->acknowledged = length;
  auto it = std::find_if(acknowledgements_.begin(), acknowledgements_.end(),
                         [&](auto& a) { return a.first == s->upstream; });
  if (it == acknowledgements_.end()) it = acknowledgements_.insert(it, {s->upstream, {}});
  it->second.lengths.push_back({s->open.sequence, s->open.life, length});
}

void HeadCore::SendAcknowledgements() {
  for (auto& [to, lengths] : acknowledgements_) Send(to, kReplyLane, std::move(lengths));
  acknowledgements_.clear();
}

// --- what it tells of itself ---

ReplicaLoad HeadCore::load(Instant now) const {
  ReplicaLoad load{.sequences = static_cast<int64_t>(table_.size()),
                   .batches = batches_,
                   .rows = rows_done_,
                   .divergences = divergences_};
  Instant oldest = running_.empty() ? now : started_;
  for (const Sequence* s : ready_) {
    load.queued_rows += s->inbox.queued();
    oldest = std::min(oldest, s->inbox.since());
  }
  load.oldest_step_ns = (now - oldest).count();
  return load;
}

std::optional<SequenceView> HeadCore::View(const SequenceKey& key) {
  const Sequence* s = table_.Find(key);
  if (s == nullptr) return std::nullopt;
  return SequenceView{
      .life = s->open.life,
      .length = s->history.size(),
      .queued_end = s->inbox.end(),
      .cursor = s->history.size(),
      .journal_begin = s->results.empty() ? s->history.size() : s->results.front().token.position,
      .window_end = s->open.max_length};
}

}  // namespace catena
