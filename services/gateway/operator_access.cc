#include "services/gateway/operator_access.h"

namespace catena {
namespace {

// Proxies say for whom they ask.
bool IsForwarded(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  for (const char* name : {"forwarded", "x-forwarded-for", "x-real-ip", "via"}) {
    if (metadata.count(name) > 0) return true;
  }
  return false;
}

}  // namespace

bool IsOfThisMachine(std::string_view peer) {
  for (std::string_view local : {"unix:", "ipv4:127.", "ipv6:[::1]:", "ipv6:%5B::1%5D:"}) {
    if (peer.starts_with(local)) return true;
  }
  return false;
}

absl::Status CheckOperator(const OperatorAccess& access,
                           const grpc::CallbackServerContext& context) {
  if (access.operator_keys != nullptr) return access.operator_keys->Keys()->Check(context);
  if (access.has_api_keys) {
    return absl::PermissionDeniedError(
        "this gateway has API keys but no operators' keys, and shows the inside of the cluster to "
        "nobody; start it with --operator-keys FILE");
  }
  if (IsOfThisMachine(context.peer()) && !IsForwarded(context)) return absl::OkStatus();
  return absl::PermissionDeniedError(
      "this gateway shows the inside of the cluster on its own machine only; ask there, or start "
      "it with --operator-keys FILE");
}

}  // namespace catena
