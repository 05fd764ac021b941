// Which of a shard's sequences run together: decodes first, then prompt rows up to a budget, with
// which a batch does not take much longer.
//
// Sequences that restart together would travel as one convoy: the first stage deals them into as
// many groups as the route has devices, and waits a little for a group to be complete; later stages
// keep to the groups.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

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
    int64_t decode_rows = 0;  // of the first parts
    int64_t rows = 0;         // of all
  };

  // `first`: of the chain. `max_rows`: of a batch.
  BatchPlanner(bool first, int64_t max_rows)
      : first_(first), max_rows_(max_rows), prefill_(max_rows) {}

  // Valid until the next call. `open`: all that are open, of which those in `queue` are ready.
  const Plan& Next(const BatchQueue<StageSequence>& queue, const SequenceTable<StageSequence>& open,
                   Instant now);
  // Some that are ready wait for company, until then at most.
  std::optional<Instant> held_until() const { return held_until_; }
  // How long a batch with so many rows took.
  void Ran(int64_t decode_rows, int64_t prefill_rows, Nanoseconds time) {
    prefill_.Ran(decode_rows, prefill_rows, time);
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
  void AddPrefill(const Ready& ready);
  void Add(StageSequence* s, int64_t rows);

  const bool first_;
  const int64_t max_rows_;
  PrefillBudget prefill_;
  Plan plan_;
  int64_t decoding_ = 0;        // open sequences past their prompt
  std::set<Incarnation> held_;  // next hops whose decodes wait for company
  std::optional<Instant> held_until_;
};

}  // namespace catena
