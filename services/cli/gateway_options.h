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
  std::string tls_name;  // of the gateway's certificate; "": as its address
  // A text that broke off waits so long for a gateway to go on with.
  std::chrono::milliseconds wait_for_gateway{30'000};

  Option Declare(App& app);
  // Of a command whose texts go on where they broke off.
  void DeclareWait(App& app);
  // Of a command that is for operators: the key is one of theirs.
  Option DeclareForOperators(App& app);
  absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect() const;
  // "Bearer KEY", or "" without a key.
  std::string Authorization() const;
  // Gives a call the key.
  void Authorize(grpc::ClientContext* context) const;
  // The same, and ends it where it is not answered within `bound`.
  void Prepare(std::chrono::milliseconds bound, grpc::ClientContext* context) const;
  // What ended a call as an error of ours that says what to do. `answered`: the gateway had
  // answered before.
  absl::Status ToStatus(const grpc::Status& status, bool answered = false) const;

 private:
  Option DeclareConnection(App& app);
};

}  // namespace catena::cli
