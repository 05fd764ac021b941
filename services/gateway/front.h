// What the requests of the public API share.
//
// Thread rules: read by all threads, changed by none.
#pragma once

#include <cstddef>

#include "runtime/chain/token_loop.h"
#include "services/common/worker_pool.h"
#include "services/gateway/api_keys.h"
#include "services/gateway/model_facts.h"
#include "services/gateway/tokenizer_client.h"

namespace catena {

// All outlive the server. At the end: shut the server down, stop the pool, then the loop may go.
struct Front {
  TokenLoop* loop = nullptr;
  TokenizerClient* tokenizer = nullptr;
  const ModelFactsSource* facts = nullptr;
  WorkerPool* pool = nullptr;  // one or two threads do
  ApiKeys keys;
  // Output that waits for one client. A client that reads so slowly that more would wait is ended
  // with RESOURCE_EXHAUSTED.
  size_t max_buffered_bytes = size_t{8} << 20;
};

// Of one message to a client: clients take 4 MiB unless told otherwise.
inline constexpr size_t kMaxResponseBytes = size_t{1} << 20;

}  // namespace catena
