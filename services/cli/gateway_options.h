// --gateway HOST:PORT of the commands that talk to a cluster, and the connection it gives.
//
// Thread rules: a channel and its stubs may be used from any thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "services/cli/command.h"

namespace catena::cli {

struct GatewayOptions {
  std::string address;

  CLI::Option* Declare(CLI::App& app);
  std::shared_ptr<grpc::Channel> Connect() const;
  // What ended a call as an error of ours: the same code, and where nobody answered, the address.
  absl::Status ToStatus(const grpc::Status& status) const;
};

// Ends a call that is not answered within `bound`.
void SetTimeout(std::chrono::milliseconds bound, grpc::ClientContext* context);

}  // namespace catena::cli
