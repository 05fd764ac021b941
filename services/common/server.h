// The gRPC server of a role: its services, grpc.health.v1, reflection, limits and keepalive.
//
// Health names: "" and each service follow SetServing, as `readiness` does; `liveness` serves from
// the start to Shutdown, so that a replica that drains is not killed. Others are NOT_FOUND.
//
// Thread rules: any thread. Shutdown and the destructor block, and not in a gRPC callback.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/impl/service_type.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>

#include "kernels/base/status.h"
#include "services/common/channel.h"

namespace catena {

// Calls at a time on one connection; a client's gRPC holds further ones back. A gateway's clients
// may share a connection, behind a proxy, and all sequences of a gateway share one to a tokenizer:
// more than it queues and runs by default (1024 and kMaxOpenSequences), so that what is too much is
// refused with a reason and not held back in silence; and an end to what one connection may take.
inline constexpr int kMaxConnectionStreams = 8192;
static_assert(kMaxConnectionStreams > limits::kMaxOpenSequences + 1024);

struct NamedService {
  std::string name;  // v1::ChainService::service_full_name()
  grpc::Service* service = nullptr;
};

struct ServerOptions {
  std::string listen;  // host:port, where port 0 is a free one, or unix:/path
  std::shared_ptr<grpc::ServerCredentials> credentials;
  std::vector<NamedService> services;  // must outlive the server
  // Of one message; a longer one ends its call with RESOURCE_EXHAUSTED.
  int max_receive_bytes = kMaxGrpcMessageBytes;
};

class Server {
 public:
  // Not ready at first. UNAVAILABLE where it cannot listen, for example because another process
  // does.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  ~Server();  // Shutdown without waiting for calls

  // As a client reaches it: `listen` with the port that the system gave.
  const std::string& address() const { return address_; }

  void SetServing(bool serving);

  // Not serving at once, no new calls; those that run may until `grace` is over. Again: waits.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  Server(std::unique_ptr<grpc::Server> server, std::string address, std::vector<std::string> names);

  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  std::vector<std::string> names_;  // that follow SetServing
};

}  // namespace catena
