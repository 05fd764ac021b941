// --gateway HOST:PORT of the commands that talk to a cluster, what it needs to be let in, and the
// connection that these give.
//
// Thread rules: a channel and its stubs may be used from any thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "services/cli/command.h"
#include "services/common/credentials.h"

namespace catena::cli {

struct GatewayOptions {
  std::string address;
  std::string api_key;
  TlsOptions tls;

  CLI::Option* Declare(CLI::App& app);
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect() const;
  // "Bearer KEY", or "" without a key.
  std::string Authorization() const;
  // Ends a call that is not answered within `bound`, and gives it the key.
  void Prepare(std::chrono::milliseconds bound, grpc::ClientContext* context) const;
  // What ended a call as an error of ours: the same code, and where nobody answered, the address.
  absl::Status ToStatus(const grpc::Status& status) const;
};

}  // namespace catena::cli
