// The gRPC server of a role: its services, grpc.health.v1, reflection, limits and keepalive.
// Everything that peers send is read under a MessageGuard, but for services that are not
// GuardedService or the like.
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
#include "services/common/health_service.h"
#include "services/common/listener.h"
#include "services/common/reflection_service.h"

namespace catena {

// Calls at a time on one connection; a client's gRPC holds further ones back. Inside a cluster all
// sequences of a gateway share a connection to a tokenizer: more than it queues and runs by default
// (1024 and kMaxOpenSequences), so that what is too much is refused with a reason and not held back
// in silence; and an end to what one connection may take.
inline constexpr int kMaxInternalStreams = 8192;
static_assert(kMaxInternalStreams > limits::kMaxOpenSequences + 1024);
// Of the public port. Proxies open another connection when one is full.
inline constexpr int kMaxPublicStreams = 256;

// What gRPC may hold of what peers send. Past that it takes no connections, closes idle ones, and
// breaks off calls: all of it is worse than a limit that is met before.
inline constexpr size_t kMaxReceivedBytes = size_t{512} << 20;

// Of a call's headers; more ends it.
inline constexpr int kMaxHeaderBytes = 16 << 10;
// What a peer may send of a message that nobody reads yet, on the public port.
inline constexpr int kMaxUnreadBytes = 16 << 10;

// A connection says what it is within this, TLS included.
inline constexpr std::chrono::milliseconds kHandshakeTimeout{10'000};
// A connection to the public port goes after so long without a call, and is replaced after so long;
// calls on it go on.
inline constexpr std::chrono::minutes kMaxConnectionIdle{5};
inline constexpr std::chrono::minutes kMaxConnectionAge{60};

struct NamedService {
  std::string name;  // v1::ChainService::service_full_name()
  grpc::Service* service = nullptr;
  bool is_shown = true;  // by reflection
};

struct ServerOptions {
  std::string listen;  // host:port, where port 0 is a free one, or unix:/path
  std::shared_ptr<grpc::ServerCredentials> credentials;
  std::vector<NamedService> services;  // must outlive the server
  // Of one message; a longer one ends its call with RESOURCE_EXHAUSTED.
  int max_receive_bytes = kMaxGrpcMessageBytes;
  bool is_public = false;  // strangers may reach it
  // As ChannelOptions has them, of connections that others made.
  std::chrono::milliseconds keepalive = kKeepaliveTime;
  std::chrono::milliseconds keepalive_timeout = kKeepaliveTimeout;
  // Of all its services; outlives it. Null: it has one of its own.
  MessageGuard* guard = nullptr;
};

class Server {
 public:
  // Not ready at first. UNAVAILABLE where it cannot listen, for example because another process
  // does.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  ~Server();  // Shutdown without waiting for calls

  // As a client reaches it: `listen` with the port that the system gave.
  const std::string& address() const { return listener_->address(); }

  void SetServing(bool serving);

  // Not serving at once, no new calls; those that run may until `grace` is over. Again: waits.
  void Shutdown(std::chrono::milliseconds grace);

 private:
  Server(const ServerOptions& options, std::unique_ptr<Listener> listener);

  std::unique_ptr<MessageGuard> own_guard_;  // where the options have none
  MessageGuard* const guard_;
  HealthService health_;
  ReflectionService reflection_;
  const std::unique_ptr<Listener> listener_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::string> names_;  // that follow SetServing
};

}  // namespace catena
