// Replicas that sequences need and that are not among those in use, and since when.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/chain/instant.h"
#include "runtime/chain/messages.h"

namespace catena {

// One that fails, as far as is known.
struct AbsentReplica {
  Incarnation incarnation = 0;
  Instant since;    // when all was well for the last time
  std::string why;  // "it does not answer"
};

class Absences {
 public:
  // What is known of absent ones, in place of what was known before.
  void Set(std::vector<AbsentReplica> absent) {
    for (AbsentReplica& a : absent) absent_.insert_or_assign(a.incarnation, std::move(a));
  }

  // Those that are needed and have been absent for `limit`.
  std::vector<AbsentReplica> Over(Nanoseconds limit, const std::set<Incarnation>& needed,
                                  const std::set<Incarnation>& present, Instant now) {
    std::erase_if(absent_, [&](const auto& a) {
      return present.contains(a.first) || !needed.contains(a.first);
    });
    std::vector<AbsentReplica> over;
    for (const Incarnation replica : needed) {
      if (present.contains(replica)) continue;
      const AbsentReplica from_now_on{replica, now, "it does not answer"};
      const AbsentReplica& a = absent_.try_emplace(replica, from_now_on).first->second;
      if (now - a.since >= limit) over.push_back(a);
    }
    return over;
  }

 private:
  std::map<Incarnation, AbsentReplica> absent_;
};

}  // namespace catena
