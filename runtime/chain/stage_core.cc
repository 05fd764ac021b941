#include "runtime/chain/stage_core.h"

#include <algorithm>
#include <map>
#include <utility>

#include "model/sampler/sampling_limits.h"

namespace catena {
namespace {

// Rows of one sequence that still count as a decode: one, and those that speculation proposes.
constexpr int64_t kMaxDecodeRows = 1 + kMaxDrafts;

}  // namespace

struct StageCore::Sequence final : ReceivingSequence {
  Sequence(const OpenStage& o, uint64_t memory_id, const StageCoreOptions& options,
           JournalBudget* budget)
      : ReceivingSequence(o.sequence, o.life,
                          {.rows_from = options.first ? o.max_length : 0,
                           .row_bytes = options.row_bytes,
                           .max_length = o.max_length,
                           .window = options.first ? o.max_length : o.window_rows}),
        open(o),
        id(memory_id),
        outbox(o.window_rows),
        rows_from(o.next_is_head ? o.first_wanted : 0),
        journal(rows_from, options.row_bytes, budget) {}
  bool decodes() const { return length >= open.prompt_length; }
  bool is_away() const { return decodes() && inbox.empty() && !running; }

  OpenStage open;
  uint64_t id;  // in StageMemory
  Outbox outbox;
  int64_t rows_from;         // first position whose row the next stage wants
  Journal journal;           // from there on
  int64_t length = 0;        // positions computed
  std::vector<int32_t> ids;  // of them
  Instant left{};            // when the last of them was
  Muster muster;
};

StageCore::StageCore(const StageCoreOptions& options, StageMemory* memory)
    : ReceivingCore(options.row_bytes, options.vocab_size),
      options_(options),
      memory_(memory),
      budget_{.limit_bytes = options.journal_bytes},
      prefill_(options.max_rows) {}

// --- messages ---

void StageCore::OnOther(Incarnation from, ChainMessage& message, Instant now) {
  broken_.erase(from);
  if (auto* open = std::get_if<OpenStage>(&message)) On(from, *open, now);
  if (auto* lengths = std::get_if<Lengths>(&message)) On(from, *lengths);
  if (auto* need = std::get_if<NeedFrom>(&message)) On(from, *need, now);
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
  if (size() >= limits::kMaxSequences) {
    return absl::ResourceExhaustedError("this shard has its limit of open sequences");
  }
  return absl::OkStatus();
}

void StageCore::On(Incarnation from, const OpenStage& open, Instant now) {
  if (open.sequence.gateway != from) return;
  Renew(from, now);
  const ReceivingSequence* known = Find(open.sequence);
  if (known != nullptr && open.life.epoch < known->life.epoch) return;
  if (known != nullptr && open.life.epoch == known->life.epoch) {
    return Send(from, Lane::kControl, Opened{open.sequence, open.life, Length(*known)});
  }
  CloseSequence(open.sequence);
  absl::Status status = CheckOpen(open);
  const uint64_t id = next_id_++;
  if (status.ok()) status = memory_->Open(id, open.rotary, open.max_length);
  if (!status.ok()) return Refuse(open.sequence, open.life, status);
  Insert(std::make_unique<Sequence>(open, id, options_, &budget_));
  Connect(open.next);
  Send(from, Lane::kControl, Opened{open.sequence, open.life, 0});
}

void StageCore::On(Incarnation from, const Lengths& lengths) {
  for (const catena::Length& l : lengths.lengths) {
    auto* s = static_cast<Sequence*>(Find(l.sequence));
    if (s == nullptr || s->open.next.incarnation != from) continue;
    if (!s->outbox.Heard(l, s->life, s->length)) continue;
    Flush(s);
    MarkReady(s);
  }
  SendCollected();
}

void StageCore::On(Incarnation from, const NeedFrom& need, Instant now) {
  auto* s = static_cast<Sequence*>(Find(need.sequence));
  if (s == nullptr || need.life != s->life || s->open.next.incarnation != from) return;
  if (need.position < 0 || !s->outbox.Rewind(need)) return;
  const int64_t row = std::max(need.position, s->rows_from);
  if (row < s->journal.begin() && row < s->length) {  // it must be made again
    RewindTo(s, row);
    AskUpstream(s, now);
  }
  Flush(s);
  SendCollected();
}

void StageCore::OnQueued(ReceivingSequence* r, const Step&) {
  auto* s = static_cast<Sequence*>(r);
  if (s->decodes() && s->inbox.begin() == s->length) s->muster.CameBack(s->left, s->inbox.since());
}

void StageCore::Disconnected(Incarnation peer, const absl::Status& why, Instant now) {
  const bool final = absl::IsFailedPrecondition(why);
  broken_.try_emplace(peer, Broken{final ? now : now + limits::kNoProgress, why});
}

// A link that breaks is made again, and what was lost is asked for; one that stays broken ends the
// sequences that need it.
void StageCore::EndBroken(Instant now) {
  std::vector<Refused> ended;
  std::erase_if(broken_, [&](const auto& entry) {
    const auto& [peer, broken] = entry;
    if (now < broken.until) return false;
    ForEach([&, peer = peer, why = broken.why](const ReceivingSequence* r) {
      const auto* s = static_cast<const Sequence*>(r);
      if (s->open.next.incarnation != peer) return;
      ended.push_back({s->key, s->life,
                       absl::UnavailableError(fmt::format("its link to {} broke: {}",
                                                          s->open.next.address, Message(why)))});
    });
    return true;
  });
  for (const Refused& r : ended) Refuse(r.sequence, r.life, r.status);
}

void StageCore::OnTick(Instant now) {
  EndBroken(now);
  std::vector<std::pair<std::pair<Incarnation, Lane>, SentLengths>> sent;
  ForEach([&](ReceivingSequence* r) {
    const auto* s = static_cast<Sequence*>(r);
    if (s->outbox.cursor() <= s->outbox.peer_length()) return;
    const std::pair to(s->open.next.incarnation, s->outbox.LaneFor(true));
    auto it = std::find_if(sent.begin(), sent.end(), [&](const auto& e) {
      return e.first == to && e.second.lengths.size() < limits::kMaxMessageSteps;
    });
    if (it == sent.end()) it = sent.insert(it, {to, {}});
    it->second.lengths.push_back({s->key, s->life, s->outbox.cursor()});
  });
  for (auto& [to, message] : sent) Send(to.first, to.second, std::move(message));
}

int64_t StageCore::Length(const ReceivingSequence& s) const {
  return static_cast<const Sequence&>(s).length;
}

int64_t StageCore::Forget(ReceivingSequence* r, int64_t position) {
  auto* s = static_cast<Sequence*>(r);
  int64_t to = std::min(position, s->length);
  if (!memory_->Truncate(s->id, to).ok()) {
    to = 0;  // what earlier positions see has slid out of the window
    CATENA_CHECK(memory_->Truncate(s->id, 0).ok());
  }
  SetLength(s, to);
  s->ids.resize(static_cast<size_t>(to));
  const bool kept = s->journal.begin() <= to && to <= s->journal.end();
  kept ? s->journal.Truncate(to) : s->journal.Restart(std::max(to, s->rows_from));
  return to;
}

void StageCore::RollBack(ReceivingSequence* s, int64_t position) {
  static_cast<Sequence*>(s)->outbox.RollBack(position);
}

void StageCore::Free(ReceivingSequence* r) {
  const auto* s = static_cast<Sequence*>(r);
  if (s->decodes()) --decoding_;
  memory_->Close(s->id);
}

void StageCore::SetLength(Sequence* s, int64_t length) {
  const bool decoded = s->decodes();
  s->length = length;
  decoding_ += static_cast<int64_t>(s->decodes()) - static_cast<int64_t>(decoded);
}

// --- batches ---

bool StageCore::IsDecode(const Sequence& s) const {
  return s.inbox.begin() >= s.open.prompt_length && s.inbox.queued() <= kMaxDecodeRows;
}

int64_t StageCore::RunnableRows(const Sequence& s) const {
  const int64_t room = s.outbox.window_end() - s.inbox.begin();
  return std::min(s.inbox.queued(), room);
}

bool StageCore::Runnable(const ReceivingSequence& s) const {
  return RunnableRows(static_cast<const Sequence&>(s)) > 0;
}

const StageBatch* StageCore::NextBatch(Instant now) {
  CATENA_CHECK(running_.empty());
  batch_.spans.clear();
  batch_.ids.clear();
  batch_.input.clear();
  HoldDecodes(now);
  AddDecodes();
  decode_rows_ = batch_.rows();
  AddPrefill();
  for (const Refused& r : std::exchange(starved_, {})) Refuse(r.sequence, r.life, r.status);
  std::erase_if(ready_, [this](ReceivingSequence* s) {
    s->ready = !s->running && Runnable(*s);
    return !s->ready;
  });
  if (batch_.spans.empty()) return nullptr;
  held_until_.reset();  // its end is the next chance
  Started(now);
  return &batch_;
}

// Which next hops' decodes wait for company: where those that are ready are not yet a whole group.
void StageCore::HoldDecodes(Instant now) {
  held_.clear();
  held_until_.reset();
  if (!options_.first) return;
  struct Company {
    int64_t ready = 0, decoding = 0, groups = 1;
    Instant latest = Instant::max();  // when the first of them has waited long enough
    Instant awaited{};                // when no more are to be expected
  };
  std::map<Incarnation, Company> companies;
  for (const ReceivingSequence* r : ready_) {
    const auto* s = static_cast<const Sequence*>(r);
    if (!IsDecode(*s)) continue;
    Company& c = companies[s->open.next.incarnation];
    ++c.ready;
    c.groups = s->open.decode_groups;
    c.latest = std::min(c.latest, s->muster.Until(s->inbox.since()));
  }
  if (companies.empty()) return;
  ForEach([&](const ReceivingSequence* r) {
    const auto* s = static_cast<const Sequence*>(r);
    const auto c = companies.find(s->open.next.incarnation);
    if (c == companies.end() || !s->decodes()) return;
    ++c->second.decoding;
    if (s->is_away()) c->second.awaited = std::max(c->second.awaited, s->muster.Until(s->left));
  });
  for (const auto& [next, c] : companies) {
    const Instant until = std::min(c.latest, c.awaited);
    if (c.ready >= (c.decoding + c.groups - 1) / c.groups || until <= now) continue;
    held_.insert(next);
    held_until_ = std::min(until, held_until_.value_or(until));
  }
}

// The first stage deals the sequences that restart together out over as many batches as can run at
// a time; later stages keep to them.
void StageCore::AddDecodes() {
  int64_t groups = 1, limit = options_.max_rows;
  std::optional<std::pair<Incarnation, uint64_t>> group;
  for (ReceivingSequence* r : ready_) {
    auto* s = static_cast<Sequence*>(r);
    if (!IsDecode(*s) || held_.contains(s->open.next.incarnation)) continue;
    const std::pair from(s->upstream, s->inbox.batch());
    if (!group) {
      group = from;
      groups = s->open.decode_groups;
      if (options_.first) limit = std::max<int64_t>(1, (decoding_ + groups - 1) / groups);
    }
    if (groups > 1 && !options_.first && from != *group) continue;
    if (static_cast<int64_t>(batch_.spans.size()) >= limit) break;
    AddSpan(s, RunnableRows(*s));
  }
}

void StageCore::AddPrefill() {
  int64_t left = prefill_.Rows(decoding_);
  for (ReceivingSequence* r : ready_) {
    auto* s = static_cast<Sequence*>(r);
    if (left <= 0) break;
    if (s->running || IsDecode(*s)) continue;
    const int64_t before = batch_.rows();
    AddSpan(s, std::min(left, RunnableRows(*s)));
    left -= batch_.rows() - before;
  }
}

void StageCore::AddSpan(Sequence* s, int64_t rows) {
  rows = std::min(rows, options_.max_rows - batch_.rows());
  if (rows <= 0) return;
  const int64_t first = s->inbox.begin();
  if (absl::Status status = memory_->Extend(s->id, first + rows); !status.ok()) {
    // Rows that slid out of its window were to be made again, and their pages are taken.
    starved_.push_back({s->key, s->life, status});
    return;
  }
  batch_.spans.push_back({.id = s->id, .first_position = first, .rows = rows});
  s->inbox.Pop(rows, &batch_.ids, &batch_.input);
  s->running = true;
  running_.push_back(s);
}

void StageCore::Complete(const char* rows, Instant now) {
  prefill_.Ran(decode_rows_, batch_.rows() - decode_rows_, now - started_);
  const int32_t* ids = batch_.ids.data();
  for (size_t i = 0; i < running_.size(); ++i) {
    auto* s = static_cast<Sequence*>(running_[i]);
    const StageBatch::Span& span = batch_.spans[i];
    if (!s->closed && !s->rewind) {  // else they are rows of other ids, or nobody's
      s->ids.insert(s->ids.end(), ids, ids + span.rows);
      AppendRows(s, span, rows);
      SetLength(s, span.first_position + span.rows);
      s->left = now;
      Flush(s);
    }
    ids += span.rows;
    rows += span.rows * row_bytes();
  }
  SendCollected();  // all else can wait until the rows are on their way
  Finished(batch_.rows(), now);
  EvictJournals();
}

void StageCore::Fail(const absl::Status& why, Instant now) {
  for (ReceivingSequence* s : running_) {
    if (!s->closed) Refuse(s->key, s->life, why);
  }
  Finished(0, now);
}

void StageCore::AppendRows(Sequence* s, const StageBatch::Span& span, const char* rows) {
  for (int64_t p = span.first_position; p < span.first_position + span.rows; ++p) {
    if (p >= s->rows_from) s->journal.Append(rows);
    rows += row_bytes();
  }
}

// Oldest first, of whoever holds most; never what the next stage has yet to receive.
void StageCore::EvictJournals() {
  while (budget_.exceeded()) {
    Sequence* largest = nullptr;
    ForEach([&](ReceivingSequence* r) {
      auto* s = static_cast<Sequence*>(r);
      if (largest == nullptr || s->journal.bytes() > largest->journal.bytes()) largest = s;
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
    Step step{.sequence = s->key,
              .life = s->life,
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
    c.steps.batch = static_cast<uint64_t>(batches_);
    if (!c.rows->empty()) c.steps.rows = std::move(c.rows);
    Send(c.to, c.lane, std::move(c.steps));
  }
  collected_.clear();
}

// --- what it tells of itself ---

ReplicaLoad StageCore::load(Instant now) const {
  ReplicaLoad load = ReceivingCore::load(now);
  load.journal_bytes = budget_.used_bytes;
  return load;
}

std::optional<SequenceView> StageCore::View(const SequenceKey& key) {
  const auto* s = static_cast<Sequence*>(Find(key));
  if (s == nullptr) return std::nullopt;
  return SequenceView{.life = s->life,
                      .length = s->length,
                      .queued_end = s->inbox.end(),
                      .cursor = s->outbox.cursor(),
                      .journal_begin = s->journal.begin(),
                      .window_end = s->outbox.window_end()};
}

}  // namespace catena
