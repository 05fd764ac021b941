// Who may see the cluster's inside: addresses, processes, sequences.
//
// Operators have keys of their own. Where none are configured, a gateway that is open to everybody
// shows it on its own machine, so that `catena up` and `catena status` need no set-up; one that has
// API keys faces strangers, perhaps through a proxy that runs beside it and makes them all look
// local, and shows it to nobody.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <string_view>

#include <grpcpp/server_context.h>

#include "services/gateway/api_keys.h"

namespace catena {

struct OperatorAccess {
  const KeyRing* operator_keys = nullptr;  // null: none are configured
  bool has_api_keys = false;               // the public API asks for keys
};

// UNAUTHENTICATED or PERMISSION_DENIED, with what to do.
absl::Status CheckOperator(const OperatorAccess& access,
                           const grpc::CallbackServerContext& context);

// Whether gRPC's name of a peer, "ipv4:127.0.0.1:4711", is of this machine.
bool IsOfThisMachine(std::string_view peer);

}  // namespace catena
