// absl::Status as a gRPC status and back: codes are the same, messages are one line, and details
// travel as google.rpc.Status in grpc-status-details-bin, where every gRPC client library looks for
// them:
//
//   ErrorInfo   always: a reason (runtime/chain/error_facts.h, or the code's name), the domain
//               "catena", and in the metadata the stage where it is one's
//   RetryInfo   of RESOURCE_EXHAUSTED and UNAVAILABLE: when to ask again
//   BadRequest  of INVALID_ARGUMENT that a field is to blame for
//
// An error that one of our services made has these details; one without is of the connection, and
// ExplainError says what to do about it.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <grpcpp/support/status.h>

#include "kernels/base/status.h"
#include "runtime/chain/error_facts.h"

namespace catena {

// Where nothing else is known.
inline constexpr std::chrono::milliseconds kDefaultRetryDelay{1'000};

// The same INVALID_ARGUMENT with the field that is to blame: its path in the request.
absl::Status WithField(absl::Status status, std::string_view field);

grpc::Status ToGrpcStatus(const absl::Status& status);

// The status that a service of ours gave, details included.
absl::Status FromGrpcStatus(const grpc::Status& status);

// Whether a service of ours gave it, rather than gRPC itself.
bool IsFromService(const grpc::Status& status);

// What its details say, of a status that came or one that will go.
std::optional<std::chrono::milliseconds> RetryDelay(const absl::Status& status);
// Its reason, or its code's name; nothing else, whatever a peer wrote.
std::string ReasonText(const absl::Status& status);

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
