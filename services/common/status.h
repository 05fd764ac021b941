// absl::Status as a gRPC status and back: codes are the same, messages are one line, and details
// (when to retry) travel as google.rpc.Status in grpc-status-details-bin, where every gRPC client
// library looks for them. An error that one of our services made always has these details; one
// without is of the connection, and ExplainError says what to do about it.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <grpcpp/support/status.h>

#include "kernels/base/status.h"

namespace catena {

// A RESOURCE_EXHAUSTED that says nothing else asks for a retry after this.
inline constexpr std::chrono::milliseconds kDefaultRetryDelay{1'000};

// The same status with the advice to retry after `delay`: a google.rpc.RetryInfo as its payload.
absl::Status WithRetryDelay(absl::Status status, std::chrono::milliseconds delay);
std::optional<std::chrono::milliseconds> RetryDelay(const absl::Status& status);

// RESOURCE_EXHAUSTED gets kDefaultRetryDelay where it has none.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The status that a service of ours gave, payloads included.
absl::Status FromGrpcStatus(const grpc::Status& status);

// Whether a service of ours gave it, rather than gRPC itself.
bool IsFromService(const grpc::Status& status);

// What broke a connection, in few words where it is known, from gRPC's long ones.
std::string ConnectionCause(std::string_view message);

// Whom a call went to, for messages.
struct Peer {
  std::string name;     // "the gateway"
  std::string address;  // host:port or unix:/path
  std::string advice;   // where it cannot be reached: "is `catena up` running?"
};

// FromGrpcStatus, with errors of the connection said in one line: who, where, what to do.
// `answered`: the peer had answered before.
absl::Status ExplainError(const grpc::Status& status, const Peer& peer, bool answered);

}  // namespace catena
