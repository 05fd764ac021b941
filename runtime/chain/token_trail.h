// Where tokens came by lately: what shows that a chain works, replica by replica.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/chain/instant.h"
#include "runtime/chain/router.h"

namespace catena {

class TokenTrail {
 public:
  struct Entry {
    Incarnation replica = 0;
    Instant at;  // of the newest token that came by
  };

  // Those that are used: nothing has come by a new one yet. What drains takes nothing that could.
  void SetReplicas(const std::vector<ReplicaInfo>& replicas) {
    std::vector<Entry> before = std::exchange(entries_, {});
    for (const ReplicaInfo& r : replicas) {
      if (r.draining) continue;
      const auto known = Find(before, r.replica.incarnation);
      entries_.push_back({r.replica.incarnation, known == before.end() ? Instant() : known->at});
    }
    std::sort(entries_.begin(), entries_.end(),
              [](const Entry& a, const Entry& b) { return a.replica < b.replica; });
  }
  // A token, or a score, came by way of a route.
  void Add(const Route& route, Instant now) {
    ++tokens_;
    for (const ReplicaInfo& r : route.stages) {
      const auto it = Find(entries_, r.replica.incarnation);
      if (it != entries_.end()) it->at = now;
    }
  }

  int64_t tokens() const { return tokens_; }                      // in all
  const std::vector<Entry>& entries() const { return entries_; }  // sorted by replica

 private:
  static std::vector<Entry>::iterator Find(std::vector<Entry>& entries, Incarnation replica) {
    const auto it = std::lower_bound(entries.begin(), entries.end(), replica,
                                     [](const Entry& e, Incarnation r) { return e.replica < r; });
    return it != entries.end() && it->replica == replica ? it : entries.end();
  }

  int64_t tokens_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace catena
