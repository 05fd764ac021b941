// A simulated run as a plain value: the cluster, what is asked of it and what goes wrong, all drawn
// from a seed. A run that fails can thus be made smaller, part by part, while it still fails.
//
// Thread rules: pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace catena::sim {

struct Scenario {
  struct Request {
    LoopRequest request;  // its deadline is `deadline` after `at`
    Nanoseconds at{};
    size_t gateway = 0;
    std::optional<Nanoseconds> cancel_after = std::nullopt, deadline = std::nullopt;
    std::optional<size_t> through = std::nullopt;  // a stage
  };
  WorldOptions world;
  std::vector<Request> requests;
  std::vector<Fault> faults;
};

// A request for a text of up to `max_tokens` behind a prompt of up to `max_prompt`.
LoopRequest RandomRequest(Random* random, int64_t max_prompt, int64_t max_tokens);

// Small clusters, short texts, and all that may go wrong, in every combination.
Scenario ScenarioOf(uint64_t seed);

// What was wrong, or "".
std::string Run(const Scenario& scenario);

// A scenario that still fails, and no longer does when any of its requests, faults or losses is
// taken away. REQUIRES: Run(scenario) is not "".
Scenario Shrink(const Scenario& scenario);

// For people.
std::string ToString(const Scenario& scenario);

}  // namespace catena::sim
