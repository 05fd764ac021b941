#include "runtime/chain/stage_core.h"

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/planted.h"
#include "runtime/chain/reached.h"

namespace catena {
namespace {

// First come, first served: one order for all gateways' sequences, at all stages.
std::tuple<int64_t, SequenceKey> OrderOf(const OpenStage& open) {
  return {open.came, open.sequence};
}

// Whether it could make place for the other: it came no earlier, and is not in the batch.
bool IsBehind(const StageSequence& s, const OpenStage& other) {
  const bool behind = OrderOf(other) <= OrderOf(s.open) || CATENA_PLANTED(kOldestMakesPlace);
  return !s.intake.running() && behind;
}

}  // namespace

StageCore::StageCore(const StageCoreOptions& options, StageMemory* memory)
    : options_(options),
      memory_(memory),
      journals_{.limit_bytes = options.journal_bytes},
      receiving_({.row_bytes = options.row_bytes,
                  .vocab_size = options.vocab_size,
                  .lease = options.detection.lease},
                 output()),
      planner_(options.first, options.max_rows, options.detection.longest_batch),
      edges_(options.detection.give_up) {}

// --- messages ---

void StageCore::Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) {
  if (auto* close = std::get_if<Close>(&message)) receiving_.Receive(from, *close);
  if (auto* beat = std::get_if<Heartbeat>(&message)) {
    receiving_.Receive(from, *beat, now, [this](StageSequence* s, const Heartbeat::Entry& entry) {
      Answer(s, entry);
    });
  }
  if (auto* steps = std::get_if<Steps>(&message)) receiving_.Receive(from, lane, *steps, now);
  if (auto* sent = std::get_if<SentLengths>(&message)) receiving_.Receive(from, *sent, now);
  if (auto* open = std::get_if<OpenStage>(&message)) On(from, *open, now);
  if (auto* go = std::get_if<Go>(&message)) On(from, *go, now);
  if (auto* lengths = std::get_if<Lengths>(&message)) On(from, *lengths, now);
  if (auto* need = std::get_if<NeedFrom>(&message)) On(from, *need, now);
}

absl::Status StageCore::CheckOpen(const OpenStage& open) const {
  const bool sane = open.upstream != 0 && open.next.incarnation != 0 && 0 < open.prompt_length &&
                    open.prompt_length <= open.max_length && 0 <= open.reserve &&
                    open.reserve <= open.max_length && 0 <= open.first_wanted &&
                    open.first_wanted < open.max_length && 0 < open.window_rows &&
                    open.window_rows <= limits::kMaxWindowRows && open.decode_groups > 0 &&
                    0 <= open.trial_end && open.trial_end <= open.max_length;
  if (!sane) return absl::InvalidArgumentError("an Open with values out of their ranges");
  if (open.max_length > options_.max_positions) {
    return absl::InvalidArgumentError(
        fmt::format("a sequence of {} positions is over the {} that this shard takes",
                    open.max_length, options_.max_positions));
  }
  return absl::OkStatus();
}

// One that started elsewhere goes before those that came later.
absl::Status StageCore::OpenMemory(const OpenStage& open, uint64_t id) {
  const int64_t reserve = open.reserve > 0 ? open.reserve : open.max_length;
  absl::Status opened = memory_->Open(id, open.max_length, reserve);
  if (!absl::IsResourceExhausted(opened)) return opened;
  const absl::Status full = WithReason(opened, ErrorReason::kKvCacheFull);
  if (!open.started) return full;
  std::vector<uint64_t> behind;
  receiving_.ForEach([&](const StageSequence* s) {
    if (IsBehind(*s, open)) behind.push_back(s->memory_id());
  });
  if (!memory_->Fits(reserve, behind)) return full;
  while (absl::IsResourceExhausted(opened)) {
    CATENA_REACHED(kMakesPlaceForAMove);
    MakePlace(NewestBehind(open));
    opened = memory_->Open(id, open.max_length, reserve);
  }
  return opened;
}

absl::Status StageCore::Admit(const OpenStage& open, Instant now) {
  CATENA_RETURN_IF_ERROR(CheckOpen(open));
  CATENA_RETURN_IF_ERROR(receiving_.CheckRoom());
  CATENA_RETURN_IF_ERROR(receiving_.CheckTrial(open));
  CATENA_RETURN_IF_ERROR(CheckEdge(open.next, now));
  const uint64_t id = next_memory_id_++;
  CATENA_RETURN_IF_ERROR(OpenMemory(open, id));
  receiving_.Insert(
      std::make_unique<StageSequence>(
          open, id, StageSequenceOptions{.first = options_.first, .row_bytes = options_.row_bytes},
          memory_, &journals_),
      now);
  return absl::OkStatus();
}

// One that is there goes into the epoch with all that it has computed.
absl::Status StageCore::Install(StageSequence* s, const OpenStage& open, Instant now) {
  CATENA_RETURN_IF_ERROR(CheckOpen(open));
  CATENA_RETURN_IF_ERROR(receiving_.CheckTrial(open));
  CATENA_RETURN_IF_ERROR(CheckEdge(open.next, now));
  receiving_.EnterEpoch(s, open);
  s->EnterEpoch(open);
  return absl::OkStatus();
}

void StageCore::On(Incarnation from, const OpenStage& open, Instant now) {
  if (open.sequence.gateway != from) return;
  receiving_.Renew(from, now);
  StageSequence* s = receiving_.Find(open.sequence);
  if (s != nullptr && open.life.epoch < s->intake.life.epoch) return;
  absl::Status status;
  if (s == nullptr) {
    status = Admit(open, now);
  } else if (open.life.epoch > s->intake.life.epoch) {
    status = Install(s, open, now);
  } else {
    CATENA_REACHED(kOpenAgain);
  }
  if (!status.ok()) return receiving_.Refuse(open.sequence, open.life, status);
  s = receiving_.Find(open.sequence);
  if (edges_.state(s->next()) == EdgeWatch::State::kUp) return Announce(s);
  // The answer follows when it is known whether the next stage can be reached.
  CATENA_REACHED(kOpenAwaitsItsEdge);
  Connect(s->open.next);
}

void StageCore::On(Incarnation from, const Go& go, Instant now) {
  StageSequence* s = receiving_.Find(go.sequence);
  if (go.sequence.gateway != from) return;
  if (s == nullptr) return Send(from, Lane::kControl, Unknown{go.sequence, go.life});
  if (go.life.epoch != s->intake.life.epoch) return;
  if (!s->outbox.stopped()) {
    CATENA_REACHED(kGoAgain);
    return;
  }
  if (go.life.round > s->intake.life.round && !CATENA_PLANTED(kGoBeginsNoRound)) {
    CATENA_REACHED(kGoBeginsARound);
    if (go.length == 0 && !CATENA_PLANTED(kOldRotaryStays)) s->intake.rotary.reset();
    receiving_.EnterRound(s, go.life.round, std::max<int64_t>(go.length, 0));
  }
  s->Go(go);
  if (s->Length() < go.length) {
    CATENA_REACHED(kGoFindsLess);  // the beginning of the round had slid out of its window
    receiving_.RewindTo(s, s->Length(), now);
  }
  CollectSteps(s, now);
  receiving_.queue().Add(s);
  SendSteps();
}

// A Go may be lost: whoever waits for it says so when it is named.
void StageCore::Answer(StageSequence* s, const Heartbeat::Entry& entry) {
  if (entry.life.epoch != s->intake.life.epoch || !s->announced) return;
  if (s->outbox.stopped()) CATENA_REACHED(kGoIsAwaited);
  if (entry.tell || s->outbox.stopped()) Announce(s);
}

void StageCore::On(Incarnation from, const Lengths& lengths, Instant now) {
  for (const Length& l : lengths.lengths) {
    StageSequence* s = receiving_.Find(l.sequence);
    if (s == nullptr || s->next() != from) continue;
    if (!s->outbox.OnLength(l, s->intake.life, s->Length())) continue;
    CollectSteps(s, now);
    if (CATENA_PLANTED(kWindowOpensUnnoticed)) continue;
    receiving_.queue().Add(s);
  }
  SendSteps();
}

void StageCore::On(Incarnation from, const NeedFrom& need, Instant now) {
  StageSequence* s = receiving_.Find(need.sequence);
  if (s == nullptr || need.life.epoch != s->intake.life.epoch || s->next() != from) return;
  if (need.life.round != s->intake.life.round && !s->outbox.stopped()) return;
  if (need.position < 0 || !s->outbox.Rewind(need)) return;
  CollectSteps(s, now);
  SendSteps();
}

void StageCore::CollectSteps(StageSequence* s, Instant now) {
  if (const std::optional<int64_t> row = s->MissingRow()) {
    CATENA_REACHED(kJournalLacksRows);
    if (*row >= s->journal.begin()) {
      receiving_.counters().row_faults.Add({.kind = RowFault::Kind::kKeptCorrupt,
                                            .sequence = s->intake.public_id,
                                            .key = s->intake.key,
                                            .from = 0,
                                            .begin = *row,
                                            .end = *row + 1});
    }
    receiving_.RewindTo(s, *row, now);
  }
  if (!s->MissingRow()) steps_.Add(s);
}

// --- edges ---

// Whether there is a link to `next`, or may be soon. One that is broken is tried again, for the
// next who asks.
absl::Status StageCore::CheckEdge(const Replica& next, Instant now) {
  CATENA_RETURN_IF_ERROR(edges_.Want(next, now));
  if (edges_.state(next.incarnation) != EdgeWatch::State::kBroken) return absl::OkStatus();
  CATENA_REACHED(kOpenOverABrokenEdge);
  Connect(next);
  return WithReason(absl::UnavailableError(fmt::format("its link to {} is broken: {}", next.address,
                                                       Message(edges_.why(next.incarnation)))),
                    ErrorReason::kEdgeBroken);
}

void StageCore::Announce(StageSequence* s) {
  s->announced = true;
  Send(s->intake.key.gateway, Lane::kControl,
       Opened{.sequence = s->intake.key,
              .life = s->intake.life,
              .length = s->Length(),
              .waits = s->outbox.stopped()});
}

void StageCore::Connected(Incarnation peer, Instant) {
  const bool was_broken = edges_.IsBroken(peer);
  if (!edges_.Up(peer)) return;
  if (was_broken) {
    CATENA_REACHED(kEdgeHeals);
    SendCondition();
  }
  receiving_.ForEach([&](StageSequence* s) {
    if (s->next() == peer && !s->announced) Announce(s);
  });
}

// What runs waits for the link, which is made again; its gateways are told, and may go round it.
void StageCore::Disconnected(Incarnation peer, const absl::Status& why, Instant now) {
  if (!edges_.Broke(peer, why, now)) return;
  SendCondition();
  receiving_.ForEach([&](const StageSequence* s) {
    if (s->next() != peer || s->announced) return;
    receiving_.Refuse(s->intake.key, s->intake.life,
                      WithReason(absl::UnavailableError(fmt::format(
                                     "its link to the next stage broke: {}", Message(why))),
                                 ErrorReason::kEdgeBroken));
  });
}

void StageCore::SendCondition() {
  const Condition condition{edges_.Broken(), draining()};
  receiving_.table().ForEachGateway(
      [&](Incarnation gateway) { Send(gateway, Lane::kControl, condition); });
}

void StageCore::Drain() {
  receiving_.Drain();
  SendCondition();
}

// --- time ---

std::optional<Instant> StageCore::WakeAt() const {
  if (receiving_.table().size() == 0) {
    if (!edges_.ToTryAgain().empty()) return tick_at_;
    const std::optional<Instant> forget = edges_.ForgetAt();
    return forget ? std::max(*forget, tick_at_) : forget;
  }
  // The end of a batch that runs is the next chance of those that are held.
  const bool running = !receiving_.queue().running().empty();
  return running ? tick_at_ : std::min(tick_at_, planner_.held_until().value_or(tick_at_));
}

void StageCore::Tick(Instant now) {
  if (now < tick_at_) return;
  tick_at_ = now + options_.detection.heartbeat;
  SendSentLengths();
  receiving_.Tick(now);
  for (const Replica& next : edges_.ToTryAgain()) {
    CATENA_REACHED(kEdgeIsTriedAgain);  // the transport has given it up, perhaps
    Connect(next);
  }
  std::set<Incarnation> used;
  receiving_.table().ForEach([&](const StageSequence* s) { used.insert(s->next()); });
  if (edges_.Forget(now, [&](Incarnation to) { return used.contains(to); })) SendCondition();
}

void StageCore::SendSentLengths() {
  std::vector<std::pair<std::pair<Incarnation, Lane>, SentLengths>> sent;
  receiving_.table().ForEach([&](const StageSequence* s) {
    if (s->outbox.stopped() || s->outbox.cursor() <= s->outbox.peer_length()) return;
    const std::pair to(s->next(), s->outbox.LaneFor(true));
    auto it = std::find_if(sent.begin(), sent.end(), [&](const auto& e) {
      return e.first == to && e.second.lengths.size() < limits::kMaxMessageSteps;
    });
    if (it == sent.end()) it = sent.insert(it, {to, {}});
    it->second.lengths.push_back({s->intake.key, s->intake.life, s->outbox.cursor()});
  });
  for (auto& [to, message] : sent) Send(to.first, to.second, std::move(message));
}

// --- batches ---

const StageBatch* StageCore::NextBatch(Instant now) {
  BatchQueue<StageSequence>& queue = receiving_.queue();
  CATENA_CHECK(queue.running().empty());
  batch_.spans.clear();
  batch_.ids.clear();
  batch_.input.clear();
  const BatchPlanner::Plan& plan = planner_.Next(queue, receiving_.table(), now);
  decode_rows_ = plan.decode_rows;
  prefill_rows_ = plan.prefill_rows;
  std::vector<Refused> failed;
  gone_.clear();
  // Whoever came first takes pages first.
  parts_ = plan.parts;
  std::sort(parts_.begin(), parts_.end(), [](const auto& a, const auto& b) {
    return OrderOf(a.sequence->open) < OrderOf(b.sequence->open);
  });
  for (const BatchPlanner::Part& part : parts_) {
    if (!gone_.contains(part.sequence)) AddSpan(part, &failed);
  }
  for (const Refused& r : failed) receiving_.End(r.sequence, r.life, r.status);
  queue.Started(now);
  return batch_.spans.empty() ? nullptr : &batch_;
}

void StageCore::AddSpan(const BatchPlanner::Part& part, std::vector<Refused>* failed) {
  StageSequence* s = part.sequence;
  const int64_t first = s->intake.inbox.begin();
  absl::Status status = Extend(s, first + part.rows);
  if (status.ok() && first == 0) {
    status = memory_->ChooseRotary(s->memory_id(), *s->intake.rotary);
  }
  if (!status.ok()) {
    // Its rotary factors do not exist, or it is the newest, and there is no page for it.
    failed->push_back({s->intake.key, s->intake.life, status, draining()});
    return;
  }
  batch_.spans.push_back({.id = s->memory_id(), .first_position = first, .rows = part.rows});
  receiving_.queue().Join(s);
  s->intake.inbox.Consume(part.rows, &batch_.ids, &batch_.input);
}

// Where pages run short those that came last make place: first come, first served, so that whoever
// came first gets to its end whatever the others do.
absl::Status StageCore::Extend(StageSequence* s, int64_t length) {
  while (true) {
    absl::Status status = memory_->Extend(s->memory_id(), length);
    if (!absl::IsResourceExhausted(status)) return status;
    StageSequence* newest = NewestBehind(s->open);
    if (newest == s) return WithReason(status, ErrorReason::kKvCacheFull);
    CATENA_REACHED(kMakesPlaceForGrowth);
    gone_.insert(newest);
    MakePlace(newest);
  }
}

// Who came last of those that are behind it; null where none is.
StageSequence* StageCore::NewestBehind(const OpenStage& open) {
  StageSequence* newest = nullptr;
  receiving_.ForEach([&](StageSequence* s) {
    if (!IsBehind(*s, open)) return;
    const bool newer = newest == nullptr || OrderOf(newest->open) < OrderOf(s->open);
    if (newest == nullptr || newer != CATENA_PLANTED(kOldestMakesPlace)) newest = s;
  });
  return newest;
}

void StageCore::MakePlace(StageSequence* s) {
  receiving_.End(s->intake.key, s->intake.life,
                 WithReason(absl::ResourceExhaustedError(
                                "the KV cache is full, and requests that came earlier go on first"),
                            ErrorReason::kKvCacheFull));
}

void StageCore::Complete(const char* rows, Instant now) {
  const BatchQueue<StageSequence>& queue = receiving_.queue();
  planner_.Ran(decode_rows_, prefill_rows_, now - queue.started(), now);
  absl::Span<const int32_t> ids = batch_.ids;
  for (size_t i = 0; i < queue.running().size(); ++i) {
    StageSequence* s = queue.running()[i];
    const StageBatch::Span& span = batch_.spans[i];
    const auto n = static_cast<size_t>(span.rows);
    if (!s->intake.closed) {
      // Those behind are of a round that is no more.
      if (s->intake.rewind) CATENA_REACHED(kBatchOfOldRound);
      const int64_t valid = s->intake.rewind.value_or(span.first_position + span.rows);
      receiving_.counters().replayed_rows +=
          s->Append(ids.subspan(0, std::clamp<int64_t>(valid - span.first_position, 0, span.rows)),
                    rows, now);
      CollectSteps(s, now);
    }
    ids.remove_prefix(n);
    rows += span.rows * options_.row_bytes;
  }
  SendSteps();  // all else can wait until the rows are on their way
  receiving_.Finished(batch_.rows(), now);
  EvictJournals();
}

void StageCore::Fail(const absl::Status& why, Instant now) {
  for (StageSequence* s : receiving_.queue().running()) {
    if (!s->intake.closed) receiving_.End(s->intake.key, s->intake.life, why);
  }
  receiving_.Finished(0, now);
}

// Oldest first, of whoever holds most; never what the next stage has yet to receive.
void StageCore::EvictJournals() {
  while (journals_.exceeded()) {
    StageSequence* largest = nullptr;
    receiving_.ForEach([&](StageSequence* s) {
      if (largest == nullptr || s->journal.bytes() > largest->journal.bytes()) largest = s;
    });
    if (largest == nullptr || !largest->DropOldestRows()) return;
    CATENA_REACHED(kJournalDropsRows);
  }
}

// --- what it tells of itself ---

ReplicaLoad StageCore::load(Instant now) const {
  ReplicaLoad load = receiving_.load(now);
  load.journal_bytes = journals_.used_bytes;
  return load;
}

std::optional<SequenceView> StageCore::View(const SequenceKey& key) {
  const StageSequence* s = receiving_.Find(key);
  if (s == nullptr) return std::nullopt;
  return s->View();
}

}  // namespace catena
