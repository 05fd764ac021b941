// What a gateway's core costs its process, in time of a CPU: the real core, and replicas that
// answer at once, so that nothing else runs.
//
// Thread rules: one thread.
#pragma once

#include <cstdint>

namespace catena::sim {

struct GatewayLoadOptions {
  int shards = 4;      // of a route
  int replicas = 10;   // of all stages; heads are as many as replicas of a shard
  int sequences = 64;  // that run
  int gateways = 1;    // that share the replicas: others' sequences are in their load
  int tokens = 200;    // of each sequence, that are measured
  int batch = 16;      // tokens that a head sends together
};

// Nanoseconds of a CPU.
struct GatewayCost {
  double token = 0;      // one token, from the head's message to the step that follows it
  double request = 0;    // one that comes and goes, besides its tokens
  double discovery = 0;  // what all replicas say of themselves, once a second
  double heartbeat = 0;  // to all replicas, twice a second
};

GatewayCost MeasureGateway(const GatewayLoadOptions& options);

}  // namespace catena::sim
