// One request of the public API as operators see it: an id that follows it, and when it is over a
// line in the log and its share of the metrics. No text is kept or logged.
//
// The id is the client's x-request-id where that is 1 to 128 visible ASCII characters, else one is
// drawn; the answer's initial metadata says it.
//
// Thread rules: one thread at a time; Metrics from any.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <grpcpp/server_context.h>

#include "runtime/chain/public_id.h"
#include "runtime/chain/token_loop.h"

namespace catena {

class GatewayMetrics;
class LineLimit;

class RequestRecord {
 public:
  // Before the call's first answer. `metrics` and `refusals`, the lines that refused ones may have
  // in the log, outlive this.
  RequestRecord(const std::string& method, grpc::CallbackServerContext* context,
                GatewayMetrics* metrics, LineLimit* refusals);

  const std::string& id() const { return id_; }
  std::chrono::steady_clock::time_point came() const { return came_; }
  GatewayMetrics* metrics() const { return metrics_; }

  void Prompt(int64_t tokens);
  void Output(int64_t tokens);
  void SequenceStarted(PublicId id) { sequences_.push_back(id); }
  // `finish`: stop, length or error.
  void SequenceEnded(const std::string& finish, const LoopStats& stats);
  // One of these, once. A refused one has no part of the work, and its line may be held back.
  void Ended(const absl::Status& status);
  void Refused(const absl::Status& status);

 private:
  const std::string method_;
  const std::string id_;
  GatewayMetrics* const metrics_;
  LineLimit* const refusals_;
  const std::chrono::steady_clock::time_point came_ = std::chrono::steady_clock::now();
  int64_t prompt_tokens_ = 0, output_tokens_ = 0;
  std::vector<PublicId> sequences_;
  std::string finish_;
  LoopStats longest_;  // of the sequences' times, each by itself
};

// A line in the log for a sequence that goes on elsewhere.
void LogMoved(const Moved& moved);

// The id that a request with this x-request-id has; "": without one.
std::string RequestIdFor(std::string_view given);

}  // namespace catena
