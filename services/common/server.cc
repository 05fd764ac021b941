#include "services/common/server.h"

#include <mutex>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>

namespace catena {
namespace {

constexpr char kLiveness[] = "liveness";
constexpr char kReadiness[] = "readiness";

void SetMs(const char* name, std::chrono::milliseconds value, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(name, static_cast<int>(value.count()));
}

// Both are of the process, and by name, so that a static link keeps them too.
void EnableHealthAndReflection() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

bool IsUnix(const std::string& address) { return address.rfind("unix:", 0) == 0; }

std::string BoundAddress(const std::string& listen, int port) {
  if (IsUnix(listen)) return listen;
  return fmt::format("{}:{}", listen.substr(0, listen.rfind(':')), port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  if (!IsUnix(options.listen) && options.listen.find(':') == std::string::npos) {
    return absl::InvalidArgumentError(fmt::format(
        "{} is no address to listen at: give host:port or unix:/path", Quoted(options.listen)));
  }
  EnableHealthAndReflection();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.listen, options.credentials, &port);
  builder.SetMaxReceiveMessageSize(options.max_receive_bytes);
  builder.SetMaxSendMessageSize(kMaxGrpcMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConnectionStreams);
  SetMs(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTime, &builder);
  SetMs(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeout, &builder);
  SetMs(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kKeepaliveLeast, &builder);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Else two processes could listen at one port, and each get half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  std::vector<std::string> names = {"", kReadiness};
  for (const NamedService& s : options.services) {
    builder.RegisterService(s.service);
    names.push_back(s.name);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(fmt::format(
        "cannot listen at {}: is the address of this machine, and free?", Quoted(options.listen)));
  }
  std::unique_ptr<Server> out(
      new Server(std::move(server), BoundAddress(options.listen, port), std::move(names)));
  out->server_->GetHealthCheckService()->SetServingStatus(kLiveness, true);
  out->SetServing(false);
  return out;
}

Server::Server(std::unique_ptr<grpc::Server> server, std::string address,
               std::vector<std::string> names)
    : server_(std::move(server)), address_(std::move(address)), names_(std::move(names)) {}

Server::~Server() { Shutdown(std::chrono::milliseconds(0)); }

void Server::SetServing(bool serving) {
  for (const std::string& name : names_) {
    server_->GetHealthCheckService()->SetServingStatus(name, serving);
  }
}

void Server::Shutdown(std::chrono::milliseconds grace) {
  SetServing(false);
  server_->Shutdown(std::chrono::system_clock::now() + grace);
  server_->Wait();
}

}  // namespace catena
