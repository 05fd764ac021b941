// What places where sequences failed lately cost more than others: replicas by their address, and
// the edges between two. A replica that fails at once has the least load, and without this would
// get every new sequence.
//
// A penalty halves again and again, more slowly the more often sequences failed there in a row, so
// that the place is tried now and then; one success ends it.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "runtime/chain/instant.h"

namespace catena {

// An address; of an edge also the one at its other end.
using Place = std::pair<std::string, std::string>;

class Penalties {
 public:
  // What a place costs at most: more than any load, so that it is taken only where there is no
  // other, or after a while.
  static constexpr double kMost = 1e7;

  void Failed(const Place& place, Instant now) {
    Penalty& p = penalties_[place];
    p.failures = std::min(p.failures + 1, kMaxFailures);
    p.since = now;
  }
  void Worked(const Place& place) {
    if (!penalties_.empty()) penalties_.erase(place);
  }

  double Of(const Place& place, Instant now) const {
    if (penalties_.empty()) return 0;
    const auto it = penalties_.find(place);
    return it == penalties_.end() ? 0 : Now(it->second, now);
  }

  // Forgets those that count no more.
  void Prune(Instant now) {
    std::erase_if(penalties_, [&](const auto& p) { return Now(p.second, now) < kLeast; });
  }
  bool empty() const { return penalties_.empty(); }

 private:
  struct Penalty {
    int failures = 0;  // in a row
    Instant since;
  };
  static constexpr double kLeast = 0.1;
  static constexpr int kMaxFailures = 5;
  static constexpr std::chrono::seconds kFirstHalfLife{2};

  static double Now(const Penalty& p, Instant now) {
    const Nanoseconds half_life = kFirstHalfLife * (1 << (p.failures - 1));
    return kMost * std::exp2(-static_cast<double>((now - p.since).count()) /
                             static_cast<double>(half_life.count()));
  }

  std::map<Place, Penalty> penalties_;
};

}  // namespace catena
