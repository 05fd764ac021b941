#include "runtime/chain/stage_core.h"

#include <algorithm>
#include <utility>

namespace catena {
namespace {

// Rows of one sequence that still count as a decode: one, or a few that speculation proposes.
constexpr int64_t kMaxDecodeRows = 8;

// The lane of what goes up the chain.
constexpr Lane kReplyLane = Lane::kDecode;

}  // namespace

StageCore::Sequence::Sequence(const OpenStage& o, uint64_t memory_id,
                              const StageCoreOptions& options, JournalBudget* budget)
    : open(o),
      id(memory_id),
      inbox({.rows_from = options.first ? o.max_length : 0,
             .row_bytes = options.row_bytes,
             .max_length = o.max_length,
             .window = options.first ? o.max_length : o.window_rows}),
      outbox(o.window_rows),
      journal(o.next_is_head ? o.first_wanted : 0, options.row_bytes, budget),
      rows_from(o.next_is_head ? o.first_wanted : 0) {}

StageCore::StageCore(const StageCoreOptions& options, StageMemory* memory)
    : options_(options),
      memory_(memory),
      budget_{.limit_bytes = options.journal_bytes},
      prefill_(options.max_rows) {}

// --- messages ---

void StageCore::Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) {
  std::visit([&](auto& m) { On(from, lane, m, now); }, message);
}

absl::Status StageCore::CheckOpen(const OpenStage& open) const {
  const bool sane = open.next.incarnation != 0 && 0 < open.prompt_length &&
                    open.prompt_length <= open.max_length && 0 <= open.first_wanted &&
                    open.first_wanted < open.max_length && 0 < open.window_rows &&
                    open.window_rows <= limits::kMaxWindowRows && open.decode_groups > 0;
  if (!sane) return absl::InvalidArgumentError("an Open with values out of their ranges");
  if (open.max_length > options_.max_positions) {
    return absl::InvalidArgumentError(
        fmt::format("a sequence of {} positions is over the {} that this shard takes",
                    open.max_length, options_.max_positions));
  }
  if (table_.size() >= limits::kMaxSequences) {
    return absl::ResourceExhaustedError("this shard has its limit of open sequences");
  }
  return absl::OkStatus();
}

void StageCore::On(Incarnation from, Lane, OpenStage& open, Instant now) {
  if (open.sequence.gateway != from) return;
  table_.Renew(from, now);
  Sequence* s = table_.Find(open.sequence);
  if (s != nullptr && open.life.epoch < s->open.life.epoch) return;
  if (s != nullptr && open.life.epoch == s->open.life.epoch) {
    Send(from, Lane::kControl, Opened{open.sequence, open.life, s->length});
    return;
  }
  if (s != nullptr) CloseSequence(open.sequence);
  absl::Status status = CheckOpen(open);
  const uint64_t id = next_id_++;
  if (status.ok()) status = memory_->Open(id, open.rotary, open.max_length);
  if (!status.ok()) {
    Send(from, Lane::kControl, Refused{open.sequence, open.life, status});
    return;
  }
  table_.Insert(open.sequence, std::make_unique<Sequence>(open, id, options_, &budget_));
  Connect(open.next);
  Send(from, Lane::kControl, Opened{open.sequence, open.life, 0});
}

void StageCore::On(Incarnation from, Lane, Close& close, Instant) {
  if (close.sequence.gateway == from) CloseSequence(close.sequence);
}

void StageCore::On(Incarnation from, Lane, Heartbeat& heartbeat, Instant now) {
  table_.Renew(from, now);
  for (const SequenceKey& key : table_.Unnamed(from, heartbeat)) CloseSequence(key);
}

void StageCore::CloseSequence(const SequenceKey& key) {
  Sequence* s = table_.Find(key);
  if (s == nullptr) return;
  std::erase(ready_, s);
  if (s->decodes()) --decoding_;
  if (s->running) {
    s->closed = true;
    closing_.push_back(table_.Extract(key));
    return;
  }
  memory_->Close(s->id);
  table_.Erase(key);
}

void StageCore::On(Incarnation from, Lane lane, Steps& steps, Instant now) {
  int64_t rows = 0;
  for (const Step& step : steps.steps) rows += step.rows();
  const size_t bytes = steps.rows == nullptr ? 0 : steps.rows->size();
  if (bytes != static_cast<size_t>(rows * options_.row_bytes)) return;  // a broken peer
  size_t offset = 0;
  for (Step& step : steps.steps) {
    TakeStep(from, lane, step, steps, offset, now);
    offset += static_cast<size_t>(step.rows() * options_.row_bytes);
  }
}

bool StageCore::IsCurrent(Sequence* s, const Life& life, int64_t position) {
  Life& own = s->open.life;
  if (life.epoch != own.epoch || life.round < own.round) return false;
  if (life.round == own.round) return true;
  own.round = life.round;
  s->outbox.Truncate(position);
  RewindTo(s, position);
  return true;
}

void StageCore::TakeStep(Incarnation from, Lane lane, Step& step, const Steps& steps, size_t offset,
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

void StageCore::AskUpstream(Sequence* s, Instant now) {
  auto need = s->inbox.Ask(s->open.sequence, s->open.life, now, limits::kRetry);
  if (need && s->upstream != 0) Send(s->upstream, kReplyLane, *need);
}

void StageCore::On(Incarnation from, Lane, SentLengths& sent, Instant now) {
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
    s->acknowledged = s->length;
    answer.lengths.push_back({s->open.sequence, s->open.life, s->length});
  }
  if (!answer.lengths.empty()) Send(from, kReplyLane, std::move(answer));
}

void StageCore::On(Incarnation from, Lane, Lengths& lengths, Instant) {
  for (const Length& l : lengths.lengths) {
    Sequence* s = table_.Find(l.sequence);
    if (s == nullptr || l.life != s->open.life || s->open.next.incarnation != from) continue;
    s->outbox.PeerComputed(std::min(l.length, s->length));
    Flush(s);
    if (!s->inbox.empty()) MarkReady(s);
  }
  SendCollected();
}

void StageCore::On(Incarnation from, Lane, NeedFrom& need, Instant now) {
  Sequence* s = table_.Find(need.sequence);
  if (s == nullptr || need.life != s->open.life || s->open.next.incarnation != from) return;
  if (need.position < 0 || !s->outbox.Rewind(need)) return;
  const int64_t row = std::max(need.position, s->rows_from);
  if (row < s->journal.begin() && row < s->length) {
    RewindTo(s, row);
    AskUpstream(s, now);
  }
  Flush(s);
  SendCollected();
}

void StageCore::RewindTo(Sequence* s, int64_t position) {
  if (s->running) {
    s->rewind = std::min(position, s->rewind.value_or(position));
    return;
  }
  int64_t to = std::min(position, s->length);
  if (!memory_->Truncate(s->id, to).ok()) {
    to = 0;  // what earlier positions see has slid out of the window
    CATENA_CHECK(memory_->Truncate(s->id, 0).ok());
  }
  SetLength(s, to);
  s->ids.resize(static_cast<size_t>(to));
  s->acknowledged = std::min(s->acknowledged, to);
  s->inbox.Rewind(to);
  std::erase(ready_, s);
  s->ready = false;
  const bool kept = s->journal.begin() <= to && to <= s->journal.end();
  kept ? s->journal.Truncate(to) : s->journal.Restart(std::max(to, s->rows_from));
}

void StageCore::SetLength(Sequence* s, int64_t length) {
  const bool decoded = s->decodes();
  s->length = length;
  decoding_ += static_cast<int64_t>(s->decodes()) - static_cast<int64_t>(decoded);
}

void StageCore::MarkReady(Sequence* s) {
  if (s->ready || s->running) return;
  s->ready = true;
  ready_.push_back(s);
}

std::optional<Instant> StageCore::WakeAt() const {
  if (table_.size() == 0) return std::nullopt;
  return tick_at_;
}

void StageCore::Tick(Instant now) {
  if (now < tick_at_) return;
  tick_at_ = now + limits::kHeartbeat;
  std::vector<std::pair<std::pair<Incarnation, Lane>, SentLengths>> sent;
  table_.ForEach([&](const SequenceKey& key, Sequence& s) {
    if (s.outbox.cursor() <= s.outbox.peer_length()) return;
    const std::pair to(s.open.next.incarnation, s.outbox.LaneFor(true));
    auto it = std::find_if(sent.begin(), sent.end(), [&](auto& e) {
      return e.first == to && e.second.lengths.size() < limits::kMaxMessageSteps;
    });
    if (it == sent.end()) it = sent.insert(sent.end(), {to, {}});
    it->second.lengths.push_back({key, s.open.life, s.outbox.cursor()});
  });
  for (auto& [to, message] : sent) Send(to.first, to.second, std::move(message));
  for (const SequenceKey& key : table_.Expired(now, limits::kLease)) CloseSequence(key);
}

// --- batches ---

bool StageCore::IsDecode(const Sequence& s) const {
  return s.inbox.begin() >= s.open.prompt_length && s.inbox.queued() <= kMaxDecodeRows;
}

int64_t StageCore::RunnableRows(const Sequence& s) const {
  const int64_t room = s.outbox.window_end() - s.inbox.begin();
  return std::min({s.inbox.queued(), room, options_.max_rows - batch_.rows()});
}

const StageBatch* StageCore::NextBatch(Instant now) {
  CATENA_CHECK(running_.empty());
  batch_.spans.clear();
  batch_.ids.clear();
  batch_.input.clear();
  AddDecodes();
  decode_rows_ = batch_.rows();
  AddPrefill();
  for (Refused& refused : std::exchange(starved_, {})) {
    CloseSequence(refused.sequence);
    Send(refused.sequence.gateway, Lane::kControl, std::move(refused));
  }
  if (batch_.spans.empty()) return nullptr;
  std::erase_if(ready_, [](Sequence* s) { return !(s->ready = !s->running); });
  started_ = now;
  return &batch_;
}

// The first stage deals the sequences that restart together out over as many batches as can run at
// a time; later stages keep to them.
void StageCore::AddDecodes() {
  int64_t groups = 1, limit = options_.max_rows;
  std::optional<std::pair<Incarnation, uint64_t>> group;
  for (size_t i = 0; i < ready_.size(); ++i) {
    Sequence* s = ready_[i];
    if (!IsDecode(*s)) continue;
    const std::pair from(s->upstream, s->inbox.batch());
    if (!group) {
      group = from;
      groups = s->open.decode_groups;
      if (options_.first) limit = (decoding_ + groups - 1) / groups;
    }
    if (groups > 1 && !options_.first && from != *group) continue;
    if (static_cast<int64_t>(batch_.spans.size()) >= std::max<int64_t>(limit, 1)) break;
    AddSpan(s, RunnableRows(*s));
  }
}

void StageCore::AddPrefill() {
  int64_t left = prefill_.Rows(decoding_);
  for (size_t i = 0; i < ready_.size() && left > 0; ++i) {
    Sequence* s = ready_[i];
    if (s->running || IsDecode(*s)) continue;
    const int64_t rows = std::min(left, RunnableRows(*s));
    AddSpan(s, rows);
    left -= std::max<int64_t>(rows, 0);
  }
}

void StageCore::AddSpan(Sequence* s, int64_t rows) {
  if (rows <= 0) return;
  const int64_t first = s->inbox.begin();
  if (absl::Status status = memory_->Extend(s->id, first + rows); !status.ok()) {
    // Rows that slid out of its window were to be made again, and their pages are taken.
    starved_.push_back({s->open.sequence, s->open.life, status});
    return;
  }
  batch_.spans.push_back({.id = s->id, .first_position = first, .rows = rows});
  s->inbox.Pop(rows, &batch_.ids, &batch_.input);
  s->running = true;
  running_.push_back(s);
}

void StageCore::Complete(const char* rows, Instant now) {
  ++batches_;
  rows_done_ += batch_.rows();
  prefill_.Ran(decode_rows_, batch_.rows() - decode_rows_, now - started_);
  const int32_t* ids = batch_.ids.data();
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence* s = running_[i];
    const StageBatch::Span& span = batch_.spans[i];
    s->running = false;
    if (!s->closed) {
      s->ids.insert(s->ids.end(), ids, ids + span.rows);
      AppendRows(s, span, rows);
      SetLength(s, span.first_position + span.rows);
      if (s->rewind) {
        RewindTo(s, *std::exchange(s->rewind, std::nullopt));
        AskUpstream(s, now);
      }
      Flush(s);
    }
    ids += span.rows;
    rows += span.rows * options_.row_bytes;
  }
  SendCollected();
  FinishRun();
}

// What need not be done before the rows are on their way.
void StageCore::FinishRun() {
  for (Sequence* s : running_) {
    if (s->closed) continue;
    if (!s->inbox.empty()) MarkReady(s);
    Acknowledge(s);
  }
  running_.clear();
  for (auto& [to, lengths] : acknowledgements_) Send(to, kReplyLane, std::move(lengths));
  acknowledgements_.clear();
  for (auto& s : closing_) memory_->Close(s->id);
  closing_.clear();
  EvictJournals();
}

void StageCore::Fail(const absl::Status& why, Instant) {
  for (Sequence* s : running_) {
    s->running = false;
    if (s->closed) continue;
    const OpenStage& open = s->open;
    Send(open.sequence.gateway, Lane::kControl, Refused{open.sequence, open.life, why});
    const SequenceKey key = open.sequence;
    CloseSequence(key);
  }
  running_.clear();
  for (auto& s : closing_) memory_->Close(s->id);
  closing_.clear();
}

void StageCore::AppendRows(Sequence* s, const StageBatch::Span& span, const char* rows) {
  for (int64_t p = span.first_position; p < span.first_position + span.rows; ++p) {
    if (p >= s->rows_from) s->journal.Append(rows);
    rows += options_.row_bytes;
  }
}

// Upstream is told of bulk rows as soon as they are done (it may then change lanes), of decodes
// once half a window has gone.
void StageCore::Acknowledge(Sequence* s) {
  const bool due = s->owes_lengths || s->length - s->acknowledged >= s->open.window_rows / 2;
  if (!due || s->upstream == 0) return;
  if (s->inbox.empty()) s->owes_lengths = false;
  s->acknowledged = s->length;
  auto it = std::find_if(acknowledgements_.begin(), acknowledgements_.end(),
                         [&](auto& a) { return a.first == s->upstream; });
  if (it == acknowledgements_.end()) {
    it = acknowledgements_.insert(it, {s->upstream, {}});
  }
  it->second.lengths.push_back({s->open.sequence, s->open.life, s->length});
}

// Oldest first, of whoever holds most; never what the next stage has yet to receive.
void StageCore::EvictJournals() {
  while (budget_.exceeded()) {
    Sequence* largest = nullptr;
    table_.ForEach([&](const SequenceKey&, Sequence& s) {
      if (largest == nullptr || s.journal.bytes() > largest->journal.bytes()) largest = &s;
    });
    if (largest == nullptr || !largest->journal.DropOldest(largest->outbox.peer_length())) return;
  }
}

// --- rows to the next stage ---

void StageCore::Flush(Sequence* s) {
  while (const int64_t sendable = s->outbox.Sendable(s->length)) {
    const int64_t from = s->outbox.cursor();
    const bool decode = from >= s->open.prompt_length && sendable <= kMaxDecodeRows;
    const Lane lane = s->outbox.LaneFor(decode);
    Collected* c = CollectFor(s->open.next.incarnation, lane);
    const int64_t n = std::min(sendable, limits::kMaxMessageRows - c->n_positions);
    Step step{.sequence = s->open.sequence,
              .life = s->open.life,
              .position = from,
              .ids = {s->ids.begin() + from, s->ids.begin() + from + n},
              .row_hashes = {}};
    const int64_t first_row = std::clamp(s->rows_from, from, from + n);
    if (first_row < from + n) {
      s->journal.Read(first_row, from + n, c->rows.get(), &step.row_hashes);
    }
    c->n_positions += n;
    c->steps.steps.push_back(std::move(step));
    s->outbox.Sent(from + n, lane);
  }
}

StageCore::Collected* StageCore::CollectFor(Incarnation to, Lane lane) {
  for (Collected& c : collected_) {
    if (c.to == to && c.lane == lane && c.n_positions < limits::kMaxMessageRows) return &c;
  }
  return &collected_.emplace_back(
      Collected{.to = to, .lane = lane, .steps = {}, .rows = std::make_shared<std::string>()});
}

void StageCore::SendCollected() {
  for (Collected& c : collected_) {
    c.steps.batch = batches_;
    if (!c.rows->empty()) c.steps.rows = std::move(c.rows);
    Send(c.to, c.lane, std::move(c.steps));
  }
  collected_.clear();
}

// --- what it tells of itself ---

ReplicaLoad StageCore::load(Instant now) const {
  ReplicaLoad load{.sequences = static_cast<int64_t>(table_.size()),
                   .journal_bytes = budget_.used_bytes,
                   .batches = static_cast<int64_t>(batches_),
                   .rows = rows_done_,
                   .divergences = divergences_};
  Instant oldest = running_.empty() ? now : started_;
  for (const Sequence* s : ready_) {
    load.queued_rows += s->inbox.queued();
    // A sequence that waits for the next stage's window does not wait for this one.
    if (s->outbox.window_end() > s->inbox.begin()) oldest = std::min(oldest, s->inbox.since());
  }
  load.oldest_step_ns = (now - oldest).count();
  return load;
}

std::optional<SequenceView> StageCore::View(const SequenceKey& key) {
  const Sequence* s = table_.Find(key);
  if (s == nullptr) return std::nullopt;
  return SequenceView{.life = s->open.life,
                      .length = s->length,
                      .queued_end = s->inbox.end(),
                      .cursor = s->outbox.cursor(),
                      .journal_begin = s->journal.begin(),
                      .window_end = s->outbox.window_end()};
}

}  // namespace catena
