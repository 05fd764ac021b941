// What must hold of a simulated cluster, each as a function of its own that says what does not, or
// nothing.
//
// Thread rules: pure functions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/faults.h"
#include "tests/sim/outcome.h"
#include "tests/sim/process.h"

namespace catena::sim {

using Processes = std::vector<std::unique_ptr<Process>>;
using Outcomes = std::vector<std::shared_ptr<Outcome>>;

// A request that succeeded has exactly the reference text, one that did not a beginning of it.
std::string CheckText(const Outcome& outcome, int64_t context, int64_t rotary_switch);

// A fault as it happened.
struct Happened {
  Fault fault;
  Instant from, until;
};
// Whether what happened explains how a request ended: it fails for what its client did, or with its
// gateway. It is refused at the door where a fault has left a gateway that is new without a route.
// `hasty`: it ends where a route is gone for long. What makes each stage fail ends for that.
std::string CheckBlame(const Outcome& outcome, const std::vector<Happened>& faults, bool hasty);

// No request that runs stands still for longer than `limit`, or than all that are open take where
// it waits for its trial, nor all that wait while none runs, in a world that has been well since
// `well_since`.
std::string CheckProgress(const Outcomes& outcomes, Instant now, Instant well_since,
                          Nanoseconds limit);

// Every queue, cache and journal is within its bounds, now.
std::string CheckLimits(const Processes& processes);

// Nothing is held anywhere, when nobody asks for anything.
std::string CheckLeaks(const Processes& processes, const Network& network);

// No stage saw two results for one position.
std::string CheckDivergences(const Processes& processes);

}  // namespace catena::sim
