// What the stages of a route are asked to open for a request.
//
// Thread rules: pure functions.
#pragma once

#include "runtime/chain/messages.h"
#include "runtime/chain/router.h"
#include "runtime/chain/token_loop.h"

namespace catena {

// Positions that the request takes at most, where a sequence may have `context`.
int64_t MaxLength(const LoopRequest& request, int64_t context);

// Of the shard `stage` of the route. REQUIRES: it is no head.
OpenStage MakeOpenStage(const SequenceKey& key, const Life& life, const LoopRequest& request,
                        int64_t max_length, const Route& route, size_t stage);
OpenHead MakeOpenHead(const SequenceKey& key, const Life& life, const LoopRequest& request,
                      int64_t max_length, const Route& route);

}  // namespace catena
