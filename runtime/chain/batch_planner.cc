#include "runtime/chain/batch_planner.h"

#include <algorithm>
#include <utility>

#include "runtime/chain/reached.h"

namespace catena {
namespace {

// Of the rows that are no decodes, where there are replays.
constexpr int64_t kShareOfNewPrompts = 4;

}  // namespace

const BatchPlanner::Plan& BatchPlanner::Next(const BatchQueue<StageSequence>& queue,
                                             const SequenceTable<StageSequence>& open,
                                             Instant now) {
  plan_.parts.clear();
  plan_.decode_rows = plan_.prefill_rows = 0;
  held_.clear();
  held_until_.reset();
  if (queue.idle()) return plan_;
  decoding_ = 0;
  open.ForEach([this](const StageSequence* s) { decoding_ += s->decodes() ? 1 : 0; });
  if (first_) HoldDecodes(queue.ready(), open, now);
  const int64_t rows = prefill_.Rows(decoding_), replay_rows = prefill_.ReplayRows(decoding_);
  if (prefill_waits_) {
    const int64_t half = std::max<int64_t>(limit_.rows() / 2, 1);
    AddPrefill(queue.ready(), half, half);
  }
  AddDecodes(queue.ready());
  if (plan_.prefill_rows == 0) AddPrefill(queue.ready(), rows, replay_rows);
  prefill_waits_ = plan_.prefill_rows == 0 &&
                   std::any_of(queue.ready().begin(), queue.ready().end(), [](const auto* s) {
                     return !s->HasDecodeQueued() && s->Runnable();
                   });
  return plan_;
}

// Which next hops' decodes wait for company: where those that are ready are not yet a whole group.
void BatchPlanner::HoldDecodes(const Ready& ready, const SequenceTable<StageSequence>& open,
                               Instant now) {
  std::map<Incarnation, Company> companies;
  for (const StageSequence* s : ready) {
    if (!s->HasDecodeQueued()) continue;
    Company& c = companies[s->next()];
    ++c.ready;
    c.groups = s->open.decode_groups;
    // What came while a batch ran could not have run: where that is all there is, and no other
    // group makes use of the time, it waits from the end of that batch on.
    Instant since = s->intake.inbox.since();
    if (c.groups == 1) since = std::max(since, free_since_);
    c.latest = std::min(c.latest, s->round_trip.AwaitedUntil(since));
  }
  if (companies.empty()) return;
  open.ForEach([&](const StageSequence* s) {
    const auto c = companies.find(s->next());
    if (c == companies.end() || !s->decodes()) return;
    ++c->second.decoding;
    if (!s->is_away()) return;
    c->second.awaited = std::max(c->second.awaited, s->round_trip.AwaitedUntil(s->left));
  });
  for (const auto& [next, c] : companies) {
    const Instant until = std::min(c.latest, c.awaited);
    if (c.ready >= (c.decoding + c.groups - 1) / c.groups || until <= now) continue;
    CATENA_REACHED(kDecodesAwaitCompany);
    held_.insert(next);
    held_until_ = std::min(until, held_until_.value_or(until));
  }
}

void BatchPlanner::AddDecodes(const Ready& ready) {
  int64_t sequences = 0, groups = 1, limit = limit_.rows();
  std::optional<std::pair<Incarnation, uint64_t>> group;
  for (StageSequence* s : ready) {
    if (!s->HasDecodeQueued() || held_.contains(s->next())) continue;
    const std::pair from(s->intake.upstream, s->intake.inbox.batch());
    if (!group) {
      group = from;
      groups = s->open.decode_groups;
      if (first_) limit = std::max<int64_t>(1, (decoding_ + groups - 1) / groups);
    }
    if (groups > 1 && !first_ && from != *group) {
      CATENA_REACHED(kGroupsStayApart);
      continue;
    }
    if (sequences++ >= limit) break;
    plan_.decode_rows += Add(s, s->RunnableRows());
  }
}

void BatchPlanner::AddPrefill(const Ready& ready, int64_t rows, int64_t replay_rows) {
  const bool new_ones = std::any_of(ready.begin(), ready.end(), [](const StageSequence* s) {
    return !s->HasDecodeQueued() && !s->HasReplayQueued() && s->Runnable();
  });
  const int64_t kept = new_ones ? std::max<int64_t>(replay_rows / kShareOfNewPrompts, 1) : 0;
  const int64_t replayed = AddBulk(ready, true, replay_rows - kept);
  AddBulk(ready, false, replayed == 0 ? rows : std::max(rows - replayed, kept));
}

int64_t BatchPlanner::AddBulk(const Ready& ready, bool replays, int64_t rows) {
  int64_t all = 0;
  for (StageSequence* s : ready) {
    if (all >= rows) break;
    if (s->HasDecodeQueued() || s->HasReplayQueued() != replays) continue;
    const int64_t added = Add(s, std::min(rows - all, s->RunnableRows()));
    if (plan_.decode_rows > 0) CATENA_REACHED(kPrefillBesideDecodes);
    if (replays) CATENA_REACHED(kReplayRuns);
    plan_.prefill_rows += added;
    all += added;
  }
  return all;
}

int64_t BatchPlanner::Add(StageSequence* s, int64_t rows) {
  rows = std::min(rows, limit_.rows() - plan_.rows());
  if (rows <= 0) return 0;
  plan_.parts.push_back({s, rows});
  return rows;
}

}  // namespace catena
