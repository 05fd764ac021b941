#include "services/common/server.h"

#include <mutex>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

namespace catena {
namespace {

constexpr char kLiveness[] = "liveness";
constexpr char kReadiness[] = "readiness";
// gRPC's reflection service holds a thread a call; it has no others.
constexpr int kMaxReflectionThreads = 16;

void SetMs(const char* name, std::chrono::milliseconds value, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(name, static_cast<int>(value.count()));
}

void SetKeepalive(grpc::ServerBuilder* builder) {
  SetMs(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTime, builder);
  SetMs(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeout, builder);
  SetMs(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kKeepaliveLeast, builder);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

void SetLimits(bool is_public, grpc::ServerBuilder* builder) {
  grpc::ResourceQuota quota("server");
  quota.Resize(kMaxReceivedBytes);
  quota.SetMaxThreads(kMaxReflectionThreads);
  builder->SetResourceQuota(quota);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxHeaderBytes);
  SetMs(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeout, builder);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                              is_public ? kMaxPublicStreams : kMaxInternalStreams);
  if (!is_public) return;
  SetMs(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kMaxConnectionIdle, builder);
  SetMs(GRPC_ARG_MAX_CONNECTION_AGE_MS, kMaxConnectionAge, builder);
  // Without probes: they raise it to what a peer makes of them.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kMaxUnreadBytes);
}

// Both are of the process, and by name, so that a static link keeps them too.
void EnableHealthAndReflection() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  CATENA_ASSIGN_OR_RETURN(auto listener, Listener::Bind(options.listen));
  EnableHealthAndReflection();
  grpc::ServerBuilder builder;
  using External = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  auto acceptor =
      builder.experimental().AddExternalConnectionAcceptor(External::FROM_FD, options.credentials);
  builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
  builder.SetMaxSendMessageSize(kMaxGrpcMessageBytes);
  SetKeepalive(&builder);
  SetLimits(options.is_public, &builder);
  std::vector<std::string> names = {"", kReadiness};
  for (const NamedService& s : options.services) {
    builder.RegisterService(s.service);
    names.push_back(s.name);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    return absl::InternalError(fmt::format("no gRPC server can be made for {}", options.listen));
  }
  std::unique_ptr<Server> out(new Server(std::move(listener), std::move(server), std::move(names)));
  out->server_->GetHealthCheckService()->SetServingStatus(kLiveness, true);
  out->SetServing(false);
  out->listener_->Start(std::move(acceptor),
                        options.connections == nullptr ? &out->connections_ : options.connections);
  return out;
}

Server::Server(std::unique_ptr<Listener> listener, std::unique_ptr<grpc::Server> server,
               std::vector<std::string> names)
    : listener_(std::move(listener)), server_(std::move(server)), names_(std::move(names)) {}

Server::~Server() { Shutdown(std::chrono::milliseconds(0)); }

void Server::SetServing(bool serving) {
  for (const std::string& name : names_) {
    server_->GetHealthCheckService()->SetServingStatus(name, serving);
  }
}

void Server::Shutdown(std::chrono::milliseconds grace) {
  SetServing(false);
  listener_->Stop();
  server_->Shutdown(std::chrono::system_clock::now() + grace);
  server_->Wait();
}

}  // namespace catena
