#include "runtime/chain/receiving_core.h"

#include <algorithm>

namespace catena {

void ReceivingCore::Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) {
  if (auto* close = std::get_if<Close>(&message)) {
    On(from, *close);
  } else if (auto* heartbeat = std::get_if<Heartbeat>(&message)) {
    On(from, *heartbeat, now);
  } else if (auto* steps = std::get_if<Steps>(&message)) {
    On(from, lane, *steps, now);
  } else if (auto* sent = std::get_if<SentLengths>(&message)) {
    On(from, *sent, now);
  } else {
    OnOther(from, message, now);
  }
}

// --- opening and closing ---

ReceivingSequence* ReceivingCore::Insert(std::unique_ptr<ReceivingSequence> s) {
  const SequenceKey key = s->key;
  return table_.Insert(key, std::move(s));
}

void ReceivingCore::CloseSequence(const SequenceKey& key) {
  ReceivingSequence* s = table_.Find(key);
  if (s == nullptr) return;
  std::erase(ready_, s);
  s->closed = true;
  if (s->running) {
    closing_.push_back(table_.Extract(key));
    return;
  }
  Free(s);
  table_.Erase(key);
}

void ReceivingCore::Refuse(const SequenceKey& key, const Life& life, const absl::Status& why) {
  Send(key.gateway, Lane::kControl, Refused{key, life, why});
  CloseSequence(key);
}

void ReceivingCore::On(Incarnation from, Close& close) {
  if (close.sequence.gateway == from) CloseSequence(close.sequence);
}

void ReceivingCore::On(Incarnation from, Heartbeat& heartbeat, Instant now) {
  table_.Renew(from, now);
  for (const SequenceKey& key : table_.Unnamed(from, heartbeat)) CloseSequence(key);
  for (const Heartbeat::Entry& entry : heartbeat.open) {
    ReceivingSequence* s = table_.Find(entry.sequence);
    if (s != nullptr && entry.sequence.gateway == from) OnRenewed(s, entry.taken, now);
  }
}

std::optional<Instant> ReceivingCore::WakeAt() const {
  if (table_.size() == 0) return std::nullopt;
  return std::min(tick_at_, Postponed().value_or(tick_at_));
}

void ReceivingCore::Tick(Instant now) {
  if (now < tick_at_) return;
  tick_at_ = now + limits::kHeartbeat;
  OnTick(now);
  // A question, or its answer, may have been lost.
  table_.ForEach([&](const SequenceKey&, ReceivingSequence& s) {
    if (s.inbox.asking()) AskUpstream(&s, now);
  });
  for (const SequenceKey& key : table_.Expired(now, limits::kLease)) CloseSequence(key);
}

// --- steps ---

void ReceivingCore::On(Incarnation from, Lane lane, Steps& steps, Instant now) {
  int64_t rows = 0;
  for (const Step& step : steps.steps) rows += step.rows();
  const size_t bytes = steps.rows == nullptr ? 0 : steps.rows->size();
  if (bytes != static_cast<size_t>(rows * row_bytes_)) return;  // a broken peer
  size_t offset = 0;
  for (Step& step : steps.steps) {
    TakeStep(from, lane, step, steps, offset, now);
    offset += static_cast<size_t>(step.rows() * row_bytes_);
  }
  SendAcknowledgements();
}

// Whether a message about `life` is of the sequence as it is; a newer round rolls it back first.
bool ReceivingCore::IsCurrent(ReceivingSequence* s, const Life& life, int64_t position) {
  if (life.epoch != s->life.epoch || life.round < s->life.round) return false;
  if (life.round == s->life.round) return true;
  s->life.round = life.round;
  RollBack(s, position);
  RewindTo(s, position);
  return true;
}

void ReceivingCore::TakeStep(Incarnation from, Lane lane, Step& step, const Steps& steps,
                             size_t offset, Instant now) {
  ReceivingSequence* s = table_.Find(step.sequence);
  if (s == nullptr) return Send(step.sequence.gateway, Lane::kControl, Unknown{step.sequence});
  const bool known_ids = std::all_of(step.ids.begin(), step.ids.end(),
                                     [&](int32_t id) { return 0 <= id && id < vocab_size_; });
  if (!known_ids || step.position < 0 || !IsCurrent(s, step.life, step.position)) return;
  if (s->rewind) return;  // the running batch's end asks for what it needs
  s->upstream = from;
  switch (s->inbox.Take(step, steps.rows, offset, steps.batch, lane, now)) {
    case Inbox::Result::kQueued:
      s->owes_lengths |= lane == Lane::kBulk;
      OnQueued(s, step);
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

void ReceivingCore::On(Incarnation from, SentLengths& sent, Instant now) {
  Lengths answer;
  for (const auto& [key, life, length] : sent.lengths) {
    ReceivingSequence* s = table_.Find(key);
    if (s == nullptr) {
      Send(key.gateway, Lane::kControl, Unknown{key});
      continue;
    }
    if (life < s->life || life.epoch > s->life.epoch) continue;
    s->upstream = from;
    // The steps that would have begun a newer round were lost: the answer says so.
    if (life == s->life && s->inbox.end() < length) AskUpstream(s, now);
    s->acknowledged = Length(*s);
    answer.lengths.push_back({key, s->life, s->acknowledged});
  }
  if (!answer.lengths.empty()) Send(from, kReplyLane, std::move(answer));
}

void ReceivingCore::AskUpstream(ReceivingSequence* s, Instant now) {
  auto need = s->inbox.Ask(s->key, s->life, now, limits::kRetry);
  if (need && s->upstream != 0) Send(s->upstream, kReplyLane, *need);
}

void ReceivingCore::RewindTo(ReceivingSequence* s, int64_t position) {
  if (s->running) {
    s->rewind = std::min(position, s->rewind.value_or(position));
    return;
  }
  const int64_t to = Forget(s, std::min(position, s->inbox.begin()));
  s->inbox.Rewind(to);
  s->acknowledged = std::min(s->acknowledged, to);
  std::erase(ready_, s);
  s->ready = false;
}

void ReceivingCore::MarkReady(ReceivingSequence* s) {
  if (s->ready || s->running || !Runnable(*s)) return;
  s->ready = true;
  ready_.push_back(s);
}

void ReceivingCore::Acknowledge(ReceivingSequence* s) {
  const int64_t length = Length(*s);
  const bool due = s->owes_lengths || length - s->acknowledged >= s->acknowledge_every;
  if (!due || s->upstream == 0) return;
  if (s->inbox.empty()) s->owes_lengths = false;
  s->acknowledged = length;
  auto it = std::find_if(acknowledgements_.begin(), acknowledgements_.end(),
                         [&](const auto& a) { return a.first == s->upstream; });
  if (it == acknowledgements_.end()) it = acknowledgements_.insert(it, {s->upstream, {}});
  it->second.lengths.push_back({s->key, s->life, length});
}

void ReceivingCore::SendAcknowledgements() {
  for (auto& [to, lengths] : acknowledgements_) Send(to, kReplyLane, std::move(lengths));
  acknowledgements_.clear();
}

// --- batches ---

void ReceivingCore::Finished(int64_t rows, Instant now) {
  ++batches_;
  rows_done_ += rows;
  for (ReceivingSequence* s : running_) {
    s->running = false;
    if (s->closed) continue;
    if (s->rewind) {
      RewindTo(s, *std::exchange(s->rewind, std::nullopt));
      AskUpstream(s, now);
    }
    MarkReady(s);
    Acknowledge(s);
  }
  running_.clear();
  SendAcknowledgements();
  for (auto& s : closing_) Free(s.get());
  closing_.clear();
}

ReplicaLoad ReceivingCore::load(Instant now) const {
  ReplicaLoad load;
  load.sequences = static_cast<int64_t>(table_.size());
  load.batches = batches_;
  load.rows = rows_done_;
  load.divergences = divergences_;
  Instant oldest = running_.empty() ? now : started_;
  for (const ReceivingSequence* s : ready_) {
    load.queued_rows += s->inbox.queued();
    // What waits for the next stage does not wait for this one.
    if (Runnable(*s)) oldest = std::min(oldest, s->inbox.since());
  }
  load.oldest_step_ns = (now - oldest).count();
  return load;
}

}  // namespace catena
