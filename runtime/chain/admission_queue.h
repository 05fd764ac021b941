// Who waits for a place in the chain, and whose turn it is: first come, first served. Sequences are
// known by their tickets, which count up in the order in which they came.
//
//   waiting ─ Take ─▶ being opened on all stages of a route ─ Opened ─▶ no longer the queue's
//      ▲                       │
//      └────── PutBack ────────┘
//
// What a stage had no memory for comes back to its place and is opened alone: others would take the
// pages that it waits for, and it would starve.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>

#include "kernels/base/status.h"
#include "runtime/chain/instant.h"

namespace catena {

class AdmissionQueue {
 public:
  struct Options {
    int64_t max_waiting = 0;
    uint64_t jitter_seed = 1;  // of the pauses after a refusal
  };
  enum class Why { kNoMemory, kBroken };

  explicit AdmissionQueue(const Options& options)
      : options_(options), jitter_(static_cast<uint32_t>(options.jitter_seed)) {}

  // Whether one more may wait: RESOURCE_EXHAUSTED where too many do, or where its turn would come
  // after its deadline.
  absl::Status MayWait(std::optional<Instant> deadline, Instant now) const;
  // REQUIRES: the ticket is not here.
  void Add(uint64_t ticket, Instant now);

  // Whose turn it is, if anybody may be opened now.
  std::optional<uint64_t> Next(Instant now) const;
  // From when on Next has somebody; nullopt: not before something here changes.
  std::optional<Instant> NextAt() const;

  // It is being opened. REQUIRES: it waits.
  void Take(uint64_t ticket);
  // All stages have opened it. REQUIRES: it is being opened.
  void Opened(uint64_t ticket, Instant now);
  // It could not be opened, or not stay open, and waits for another try. REQUIRES: it does not
  // wait.
  void PutBack(uint64_t ticket, Why why, Instant now);
  // A pause of a random length, so that gateways that collided do not collide again.
  Nanoseconds Pause();
  // It ended, or was never here.
  void Remove(uint64_t ticket);
  // Something that held memory has ended: whoever is next need not wait out a pause.
  void MemoryWasFreed(Instant now);

  // Whether stages are to be asked one after another, shards in layer order, since all at once was
  // in vain too often: whoever got the first one will get the others, and two gateways cannot hold
  // half a route each for ever.
  bool OneByOne(uint64_t ticket) const;

  // A sequence waits until all stages of a route have opened it.
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size() + opening_.size()); }
  // Those of them that were open before.
  int64_t returned() const;
  // How long one that came now would wait; 0 where that is unknown, since nobody has waited lately.
  Nanoseconds ExpectedWait() const { return interval_ * waiting(); }

 private:
  struct Entry {
    int refusals = 0;    // for want of memory
    Instant not_before;  // of the next try
    bool returned = false;
  };
  bool MayOpen(const Entry& next) const;
  void Measure(Instant now);

  const Options options_;
  std::minstd_rand jitter_;
  std::map<uint64_t, Entry> waiting_, opening_;  // by ticket
  bool opening_alone_ = false;
  std::optional<Instant> opened_at_;  // the last one, of those that wait
  Nanoseconds interval_{};            // between openings while others wait, smoothed
};

}  // namespace catena
