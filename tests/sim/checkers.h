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
// A request fails only for what its client did, or for a fault that was while it ran and of which
// its status names a process.
std::string CheckBlame(const Outcome& outcome, const std::vector<Happened>& faults,
                       const Processes& processes);

// No request that has started stands still for longer than `limit`, nor all that wait while none
// runs.
std::string CheckProgress(const Outcomes& outcomes, Instant now, Nanoseconds limit);

// Every queue, cache and journal is within its bounds, now.
std::string CheckLimits(const Processes& processes);

// Nothing is held anywhere, when nobody asks for anything.
std::string CheckLeaks(const Processes& processes, const Network& network);

// No stage saw two results for one position.
std::string CheckDivergences(const Processes& processes);

}  // namespace catena::sim
