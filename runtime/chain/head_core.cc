#include "runtime/chain/head_core.h"

#include <algorithm>
#include <memory>

#include "runtime/chain/reached.h"

namespace catena {

HeadCore::HeadCore(const HeadCoreOptions& options)
    : options_(options),
      receiving_({.row_bytes = options.row_bytes,
                  .vocab_size = options.vocab_size,
                  .lease = options.detection.lease},
                 output()),
      limit_(options.max_rows, options.detection.longest_batch) {}

// --- messages ---

void HeadCore::Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) {
  if (auto* close = std::get_if<Close>(&message)) receiving_.Receive(from, *close);
  if (auto* beat = std::get_if<Heartbeat>(&message)) {
    receiving_.Receive(from, *beat, now, [&](HeadSequence* s, const Heartbeat::Entry& entry) {
      s->Confirm(entry.next_token);
      Repeat(s, now);
      if (entry.tell) Announce(*s);
    });
    SendTokens();
  }
  if (auto* steps = std::get_if<Steps>(&message)) receiving_.Receive(from, lane, *steps, now);
  if (auto* sent = std::get_if<SentLengths>(&message)) receiving_.Receive(from, *sent, now);
  if (auto* open = std::get_if<OpenHead>(&message)) On(from, *open, now);
}

void HeadCore::On(Incarnation from, OpenHead& open, Instant now) {
  if (open.sequence.gateway != from) return;
  receiving_.Renew(from, now);
  const SequenceKey key = open.sequence;
  const Life life = open.life;
  HeadSequence* s = receiving_.Find(key);
  if (s != nullptr && life.epoch < s->intake.life.epoch) return;
  absl::Status status;
  if (s == nullptr) {
    status = Admit(std::move(open), now);
  } else if (life.epoch > s->intake.life.epoch) {
    status = Install(s, open, now);
  }
  if (!status.ok()) return receiving_.Refuse(key, life, status);
  Announce(*receiving_.Find(key));
}

// What was on its way to the gateway when the route broke may not have come.
absl::Status HeadCore::Install(HeadSequence* s, const OpenHead& open, Instant now) {
  CATENA_RETURN_IF_ERROR(CheckOpen(open));
  CATENA_RETURN_IF_ERROR(receiving_.CheckTrial(open));
  receiving_.EnterEpoch(s, open);
  s->Confirm(open.first_token);
  for (HeadSequence::Result& result : s->results) {
    Collect(result.token);
    result.sent = now;
  }
  SendTokens();
  return absl::OkStatus();
}

void HeadCore::Announce(const HeadSequence& s) {
  Send(s.intake.key.gateway, Lane::kControl,
       Opened{.sequence = s.intake.key, .life = s.intake.life, .length = s.Length()});
}

absl::Status HeadCore::CheckOpen(const OpenHead& open) const {
  const bool sane = open.upstream != 0 && 0 < open.prompt_length &&
                    open.prompt_length <= open.max_length && 0 <= open.first_wanted &&
                    open.first_wanted < open.max_length && 0 < open.window_rows &&
                    open.window_rows <= limits::kMaxWindowRows && 0 <= open.score_top &&
                    open.score_top <= limits::kMaxTopLogprobs &&
                    static_cast<int64_t>(open.ids.size()) <= open.max_length &&
                    0 <= open.trial_end && open.trial_end <= open.max_length;
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
  return absl::OkStatus();
}

absl::Status HeadCore::Admit(OpenHead open, Instant now) {
  CATENA_RETURN_IF_ERROR(CheckOpen(open));
  CATENA_RETURN_IF_ERROR(receiving_.CheckRoom());
  CATENA_RETURN_IF_ERROR(receiving_.CheckTrial(open));
  CATENA_ASSIGN_OR_RETURN(Sampler sampler, Sampler::Make(open.params, options_.vocab_size));
  receiving_.Insert(
      std::make_unique<HeadSequence>(std::move(open), std::move(sampler), options_.row_bytes), now);
  return absl::OkStatus();
}

// What is not known to have come is sent again.
void HeadCore::Repeat(HeadSequence* s, Instant now) {
  for (HeadSequence::Result& result : s->results) {
    if (now - result.sent < limits::kRetry) continue;
    CATENA_REACHED(kResultIsRepeated);
    Collect(result.token);
    result.sent = now;
  }
}

// --- time ---

std::optional<Instant> HeadCore::WakeAt() const {
  if (receiving_.table().size() == 0) return std::nullopt;
  return tick_at_;
}

void HeadCore::Tick(Instant now) {
  if (now < tick_at_) return;
  tick_at_ = now + options_.detection.heartbeat;
  receiving_.Tick(now);
}

// --- batches ---

const std::vector<RowRun>* HeadCore::NextBatch(Instant now) {
  BatchQueue<HeadSequence>& queue = receiving_.queue();
  CATENA_CHECK(queue.running().empty());
  batch_.clear();
  spans_.clear();
  batch_rows_ = 0;
  for (HeadSequence* s : queue.ready()) {
    const int64_t rows = std::min(s->RunnableRows(), limit_.rows() - batch_rows_);
    if (rows <= 0) break;
    spans_.push_back({.first_position = s->intake.inbox.begin(), .rows = rows});
    consumed_.clear();
    queue.Join(s);
    s->intake.inbox.Consume(rows, &consumed_, &batch_);
    batch_rows_ += rows;
  }
  queue.Started(now);
  return batch_.empty() ? nullptr : &batch_;
}

void HeadCore::Complete(LogitSource& logits, Instant now) {
  const std::vector<HeadSequence*>& running = receiving_.queue().running();
  int64_t row = 0;
  for (size_t i = 0; i < running.size(); ++i) {
    for (int64_t n = 0; n < spans_[i].rows; ++n, ++row) {
      Take(running[i], spans_[i].first_position + n, logits, row, now);
    }
  }
  SendTokens();
  limit_.Ran(batch_rows_, now - receiving_.queue().started());
  receiving_.Finished(batch_rows_, now);
}

void HeadCore::Take(HeadSequence* s, int64_t position, LogitSource& logits, int64_t row,
                    Instant now) {
  const Intake& intake = s->intake;
  // Nobody's, of a round that is no more, or of an id that will be rolled back.
  const bool stale = intake.rewind && position >= *intake.rewind;
  if (intake.closed || stale || s->rejected()) return;
  absl::StatusOr<std::optional<Token>> token = s->TakeRow(position, logits, row, &scratch_);
  if (!token.ok()) return receiving_.End(intake.key, intake.life, token.status());
  if (!token->has_value()) return;
  Collect(**token);
  s->results.push_back({**std::move(token), now});
}

void HeadCore::Drain() {
  receiving_.Drain();
  receiving_.table().ForEachGateway([&](Incarnation gateway) {
    Send(gateway, Lane::kControl, Condition{.broken = {}, .draining = true});
  });
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
  const HeadSequence* s = receiving_.Find(key);
  if (s == nullptr) return std::nullopt;
  return s->View();
}

}  // namespace catena
