#include "services/common/server.h"

#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

namespace catena {
namespace {

constexpr char kLiveness[] = "liveness";
constexpr char kReadiness[] = "readiness";

void SetMs(const char* name, std::chrono::milliseconds value, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(name, static_cast<int>(value.count()));
}

void SetKeepalive(const ServerOptions& options, grpc::ServerBuilder* builder) {
  SetMs(GRPC_ARG_KEEPALIVE_TIME_MS, options.keepalive, builder);
  SetMs(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, options.keepalive_timeout, builder);
  SetMs(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kKeepaliveLeast, builder);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

void SetLimits(bool is_public, grpc::ServerBuilder* builder) {
  grpc::ResourceQuota quota("server");
  quota.Resize(kMaxReceivedBytes);
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

// What reflection shows.
std::vector<std::string> ShownBy(const ServerOptions& options) {
  std::vector<std::string> names = {HealthService::kName, ReflectionService::kName};
  for (const NamedService& s : options.services) {
    if (s.is_shown) names.push_back(s.name);
  }
  return names;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  CATENA_ASSIGN_OR_RETURN(auto listener, Listener::Bind(options.listen));
  grpc::ServerBuilder builder;
  using External = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  auto acceptor =
      builder.experimental().AddExternalConnectionAcceptor(External::FROM_FD, options.credentials);
  builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
  builder.SetMaxSendMessageSize(kMaxGrpcMessageBytes);
  SetKeepalive(options, &builder);
  SetLimits(options.is_public, &builder);
  for (const NamedService& s : options.services) builder.RegisterService(s.service);
  std::unique_ptr<Server> out(new Server(options, std::move(listener)));
  builder.RegisterService(&out->health_);
  builder.RegisterService(&out->reflection_);
  out->server_ = builder.BuildAndStart();
  if (out->server_ == nullptr) {
    return absl::InternalError(fmt::format("no gRPC server can be made for {}", options.listen));
  }
  out->listener_->Start(std::move(acceptor), &out->guard_->connections());
  return out;
}

Server::Server(const ServerOptions& options, std::unique_ptr<Listener> listener)
    : own_guard_(options.guard == nullptr ? std::make_unique<MessageGuard>() : nullptr),
      guard_(options.guard == nullptr ? own_guard_.get() : options.guard),
      health_(guard_),
      reflection_(guard_, ShownBy(options)),
      listener_(std::move(listener)),
      names_({"", kReadiness}) {
  for (const NamedService& s : options.services) names_.push_back(s.name);
  health_.Set(kLiveness, true);
  SetServing(false);
}

Server::~Server() { Shutdown(std::chrono::milliseconds(0)); }

void Server::SetServing(bool serving) {
  for (const std::string& name : names_) health_.Set(name, serving);
}

void Server::Shutdown(std::chrono::milliseconds grace) {
  SetServing(false);
  listener_->Stop();
  if (server_ == nullptr) return;
  const absl::Status why = absl::UnavailableError("the server is stopping");
  health_.EndAll(why);
  reflection_.EndAll(why);
  server_->Shutdown(std::chrono::system_clock::now() + grace);
  server_->Wait();
}

}  // namespace catena
