// A cluster that serves, simulated: the real cores of gateways, shards and heads
// (tests/sim/world.h) under a load of requests that come at random, with batches that take what a
// StageSpeed says. What comes of it is measured as a client would, in simulated time.
//
// Thread rules: one thread.
#pragma once

#include <string>
#include <vector>

#include "runtime/capacity/forecast.h"
#include "tests/sim/world.h"

namespace catena::sim {

struct ClusterOptions {
  ServingCluster cluster;
  ServingLoad load;
  int gateways = 1;
  uint64_t seed = 1;
  Nanoseconds warm_up = std::chrono::seconds(2);    // after that it is measured,
  Nanoseconds measured = std::chrono::seconds(10);  // for so long
  // Replicas of the last shard that die, all at once, in the middle of what is measured, and do
  // not come back.
  int lost = 0;
};

// In seconds.
struct Spread {
  double mean = 0, p50 = 0, p99 = 0, most = 0;
};

struct Measured {
  Spread first_token;               // from the request to it
  Spread token;                     // from one token to the next
  double tokens_per_s = 0;          // that came
  std::vector<double> rows;         // of a batch, mean, by stage; the head last
  std::vector<double> busy;         // share of the time that a stage's replicas computed
  int64_t requests = 0, moves = 0;  // in all
  double links = 0;                 // of a process, mean, in the end
  int64_t messages = 0;             // between processes
  double replayed_rows = 0;         // computed again
  Spread pause;                     // of sequences that moved
  std::string problem;              // what the world's checkers found; ""
};

Measured RunCluster(const ClusterOptions& options);

}  // namespace catena::sim
