// What a stage counts of its batches, for whoever watches it. The core only counts; what is made of
// it is the business of its process.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <cstdint>

#include "runtime/chain/histogram.h"
#include "runtime/chain/instant.h"
#include "runtime/chain/messages.h"

namespace catena {

// How long a stage worked, and how long it could have: a pipeline's bubbles are the time in which a
// stage has open sequences and nothing to run.
class BusyClock {
 public:
  // From now on: whether sequences are open, whether a batch runs.
  void Set(bool open, bool running, Instant now) {
    if (running_) busy_ += now - since_;
    if (open_ && !running_) idle_ += now - since_;
    open_ = open;
    running_ = running;
    since_ = now;
  }
  // The last sequence was closed, some time after the last Set.
  void Emptied() { open_ = false; }

  Nanoseconds busy() const { return busy_; }  // a batch ran
  Nanoseconds idle() const { return idle_; }  // none did, though sequences were open

 private:
  bool open_ = false, running_ = false;
  Instant since_{};
  Nanoseconds busy_{}, idle_{};
};

// Rows that are not what they were: a machine or a link is broken, or this is a bug.
struct RowFault {
  enum class Kind {
    kCameTwice,    // with other bits than before
    kCameCorrupt,  // with other bits than their sender had hashed
    kKeptCorrupt,  // a journal's, which changed while they were kept
  };
  Kind kind{};
  PublicId sequence{};
  SequenceKey key;
  Incarnation from = 0;        // whose rows they are; 0: this stage's own
  int64_t begin = 0, end = 0;  // positions
};

struct RowFaults {
  int64_t came_twice = 0, came_corrupt = 0;  // steps
  int64_t kept_corrupt = 0;                  // rows
  RowFault last{};

  int64_t count() const { return came_twice + came_corrupt + kept_corrupt; }
  void Add(const RowFault& fault) {
    ++(fault.kind == RowFault::Kind::kCameTwice     ? came_twice
       : fault.kind == RowFault::Kind::kCameCorrupt ? came_corrupt
                                                    : kept_corrupt);
    last = fault;
  }
};

struct StageCounters {
  Histogram forward{kSecondsBounds};        // a batch, from its start to its end
  Histogram queue_wait{kSecondsBounds};     // a sequence's oldest row, until its batch began
  Histogram batch_rows{kCountBounds};       // of a batch
  Histogram batch_sequences{kCountBounds};  // of a batch
  BusyClock clock;
  int64_t replayed_rows = 0;  // computed again, of positions that had been computed
  RowFaults row_faults;
};

}  // namespace catena
