#include "services/cli/gateway_options.h"

namespace catena::cli {

CLI::Option* GatewayOptions::Declare(CLI::App& app) {
  return app.add_option("--gateway", address, "HOST:PORT of the cluster's gateway");
}

std::shared_ptr<grpc::Channel> GatewayOptions::Connect() const {
  return grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
}

absl::Status GatewayOptions::ToStatus(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  // gRPC's own words name sockets and files of its source; what the gateway says, it says itself.
  const bool not_reached = status.error_message().find("failed to connect") != std::string::npos;
  if (not_reached || status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return absl::Status(
        code, fmt::format("no gateway answers at {}; is the cluster up, and the address right?",
                          Quoted(address)));
  }
  return absl::Status(code, status.error_message());
}

void SetTimeout(std::chrono::milliseconds bound, grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + bound);
}

}  // namespace catena::cli
