// What the requests of the public API share, whichever protocol they come by.
//
// Thread rules: what it points at may be used from any thread; it is filled in before the server
// starts, and changed by none after that.
#pragma once

#include <cstddef>

#include "runtime/chain/token_loop.h"
#include "services/common/line_limit.h"
#include "services/gateway/api_keys.h"
#include "services/gateway/gateway_metrics.h"
#include "services/gateway/model_facts.h"
#include "services/gateway/public_call.h"
#include "services/gateway/tokenizer_client.h"

namespace catena {

// Output that waits for clients, of one of them and of all together. A client that reads so slowly
// that more would wait is ended with RESOURCE_EXHAUSTED; where all together hold too much, one that
// holds more than its least share.
inline constexpr size_t kMaxBufferedBytes = size_t{8} << 20;
inline constexpr size_t kMaxAllBufferedBytes = size_t{256} << 20;
inline constexpr size_t kLeastBufferedBytes = size_t{64} << 10;

// Of one message to a client: clients take 4 MiB unless told otherwise.
inline constexpr size_t kMaxResponseBytes = size_t{128} << 10;

// All that it points at, and it itself, outlive the server. At the end: shut the server down, stop
// the pool, then the loop may go.
struct Front {
  explicit Front(const MessageGuardOptions& options = {}) : house(options) {}

  TokenLoop* loop = nullptr;
  TokenizerClient* tokenizer = nullptr;
  const ModelFactsSource* facts = nullptr;
  const KeyRing* keys = nullptr;  // null: the API is open
  CallHouse house;                // with one or two threads
  RunningCalls calls{limits::kMaxCalls, "requests"};
  RunningCalls refused{limits::kMaxRefusedCalls, "refusals"};
  ByteBudget buffered{kMaxAllBufferedBytes};
  GatewayMetrics metrics;
  LineLimit refusal_lines{60, std::chrono::minutes(1)};
  size_t max_buffered_bytes = kMaxBufferedBytes;
};

// Whether a call that holds so much output may hold it.
absl::Status CheckOutput(const Front& front, const HeldBytes& buffered);

}  // namespace catena
