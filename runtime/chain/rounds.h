// The newest rounds of a sequence and where each begins: positions from there on may be others than
// in any round before. By them an end of a hop knows what of a length that was reached in an older
// round still holds.
//
// Of many rounds the oldest two become one that begins where the earlier of them does: that costs
// positions that are computed again, and nothing else.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "runtime/chain/planted.h"

namespace catena {

class Rounds {
 public:
  void Begin(uint32_t round, int64_t begin) {
    rounds_.push_back({round, begin});
    if (rounds_.size() <= kMost) return;
    rounds_[1].begin = std::min(rounds_[0].begin, rounds_[1].begin);
    rounds_.pop_front();
  }
  // It is `round` alone, or none, that matters from here on.
  void Restart(uint32_t round, int64_t begin) { rounds_.assign(1, {round, begin}); }
  // Up to this one, rounds matter no more.
  void Seen(uint32_t round) {
    std::erase_if(rounds_, [round](const Round& r) { return r.round <= round; });
  }

  bool empty() const { return rounds_.empty(); }
  // The earliest beginning of a round; 0 where there is none.
  int64_t begin() const { return empty() ? 0 : Kept(0, rounds_.front().begin); }
  // Of `length` positions that were reached in `round`, or the one that was oldest here, those that
  // are the same now.
  int64_t Kept(uint32_t round, int64_t length) const {
    for (const Round& r : rounds_) {
      const bool counts = !CATENA_PLANTED(kOnlyTheNewestRound) || &r == &rounds_.back();
      if (r.round > round && counts) length = std::min(length, r.begin);
    }
    return length;
  }

 private:
  static constexpr size_t kMost = 64;
  struct Round {
    uint32_t round;
    int64_t begin;
  };
  std::deque<Round> rounds_;
};

}  // namespace catena
