// Who has called, and by what it is known again. An incarnation is no secret inside a cluster, and
// "the newest stream of a lane takes the old one's place" must not let a stranger end or answer
// another's streams. So the first stream of an incarnation fixes its role, its proof (handshake.h)
// and, where certificates are asked for, the names in its certificate; a stream that comes later
// with others is refused.
//
// A caller is remembered for as long as it has streams here, and then until its place is needed,
// and at least until whatever this process held of it has gone by its lease. So the book is bounded
// by `most`; where it is full of callers that must be remembered, new ones are refused.
//
// Without TLS whoever reaches the port may still call under a name that nobody has used here yet;
// only certificates keep strangers out altogether.
//
// Thread rules: one at a time.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "runtime/chain/instant.h"
#include "runtime/chain/limits.h"
#include "services/link/handshake.h"
#include "services/link/link_limits.h"

namespace catena {

struct CallerBookOptions {
  size_t most = limits::kMaxKnownCallers;
  // After the last stream: longer than a lease.
  std::chrono::milliseconds remember = 2 * limits::DetectionLimits().lease;
};

class CallerBook {
 public:
  explicit CallerBook(const CallerBookOptions& options = {}) : options_(options) {}

  // A stream of `caller` begins. `certificate`: names in it, in any form; "" where none was shown.
  // PERMISSION_DENIED where another process has its incarnation, RESOURCE_EXHAUSTED where the book
  // is full.
  absl::Status Enter(const Caller& caller, const std::string& certificate, Instant now);
  // A stream that was entered has ended.
  void Leave(Incarnation caller, Instant now);

  size_t size() const { return known_.size(); }

 private:
  struct Known {
    Role role = Role::kShard;
    std::string proof, certificate;
    int64_t streams = 0;
    Instant left{};  // where there are none
  };

  bool MakePlace(Instant now);

  const CallerBookOptions options_;
  std::map<Incarnation, Known> known_;
};

}  // namespace catena
