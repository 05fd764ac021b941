// Which of a shard's sequences run together: decodes first, then prompt rows up to a budget, with
// which a batch does not take much longer.
//
// Sequences that restart together would travel as one convoy: the first stage deals them into as
// many groups as the route has devices, and waits a little for a group to be complete; later stages
// keep to the groups.
//
// Of prompt rows those come first that were computed before: somebody is in the middle of a text. A
// part is left for prompts that are new.
//
// A batch takes no longer than a given time, as far as can be told. Where decodes alone would fill
// one after the other, prompts get half of every other batch.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "runtime/chain/batch_limit.h"
#include "runtime/chain/batch_queue.h"
#include "runtime/chain/prefill_budget.h"
#include "runtime/chain/sequence_table.h"
#include "runtime/chain/stage_sequence.h"

namespace catena {

class BatchPlanner {
 public:
  struct Part {
    StageSequence* sequence;
    int64_t rows;
  };
  struct Plan {
    std::vector<Part> parts;
    int64_t decode_rows = 0, prefill_rows = 0;
    int64_t rows() const { return decode_rows + prefill_rows; }
  };

  // `first`: of the chain. `max_rows`: of a batch, and `longest` it may take.
  BatchPlanner(bool first, int64_t max_rows, Nanoseconds longest)
      : first_(first), prefill_(max_rows), limit_(max_rows, longest) {}

  // Valid until the next call. `open`: all that are open, of which those in `queue` are ready.
  const Plan& Next(const BatchQueue<StageSequence>& queue, const SequenceTable<StageSequence>& open,
                   Instant now);
  // Some that are ready wait for company, until then at most.
  std::optional<Instant> held_until() const { return held_until_; }
  // A batch with so many rows is done, and how long it took.
  void Ran(int64_t decode_rows, int64_t prefill_rows, Nanoseconds time, Instant now) {
    free_since_ = now;
    prefill_.Ran(decode_rows, prefill_rows, time);
    limit_.Ran(decode_rows + prefill_rows, time);
  }

 private:
  // Of the sequences that go to one next stage.
  struct Company {
    int64_t ready = 0, decoding = 0, groups = 1;
    Instant latest = Instant::max();  // when the first of them has waited long enough
    Instant awaited{};                // when no more are to be expected
  };
  using Ready = std::deque<StageSequence*>;

  void HoldDecodes(const Ready& ready, const SequenceTable<StageSequence>& open, Instant now);
  void AddDecodes(const Ready& ready);
  // So many rows of new prompts, and of replays.
  void AddPrefill(const Ready& ready, int64_t rows, int64_t replay_rows);
  // Of what is no decode: those whose queue is a replay, or those whose is not.
  int64_t AddBulk(const Ready& ready, bool replays, int64_t rows);
  // How many of the sequence's rows are in the plan now.
  int64_t Add(StageSequence* s, int64_t rows);

  const bool first_;
  PrefillBudget prefill_;
  BatchLimit limit_;
  Plan plan_;
  bool prefill_waits_ = false;  // the last batch had decodes alone, and prompts were ready
  int64_t decoding_ = 0;        // open sequences past their prompt
  std::set<Incarnation> held_;  // next hops whose decodes wait for company
  std::optional<Instant> held_until_;
  Instant free_since_{};  // the end of the last batch
};

}  // namespace catena
