// Asks every shard and head what it holds of a sequence, all at once.
//
// Thread rules: any thread; nothing blocks; `done` comes once, from any thread.
#pragma once

#include <functional>
#include <vector>

#include "catena/v1/cluster.pb.h"

#include "services/gateway/discovery.h"

namespace catena {

// Adds to `response`, in the order of `replicas`, those that have the sequence; who does not answer
// in time is left out. `response` stays valid until `done`.
void AskStages(const SequenceKey& key, const std::vector<KnownReplica>& replicas,
               const Discovery& discovery, v1::DebugSequenceResponse* response,
               std::function<void()> done);

}  // namespace catena
