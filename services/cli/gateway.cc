// catena gateway: the public API, the token loop and what finds the replicas, as a process.
#include <spdlog/spdlog.h>

#include "kernels/base/cores.h"
#include "services/cli/role_options.h"
#include "services/cli/role_telemetry.h"
#include "services/common/log.h"
#include "services/common/process.h"
#include "services/common/request_limits.h"
#include "services/common/server.h"
#include "services/gateway/cluster_service.h"
#include "services/gateway/discovery.h"
#include "services/gateway/gateway_drain.h"
#include "services/gateway/gateway_metrics.h"
#include "services/gateway/generation_service.h"
#include "services/gateway/key_file.h"
#include "services/gateway/readiness.h"
#include "services/link/grpc_transport.h"

namespace catena::cli {
namespace {

struct GatewayRoleOptions {
  RoleOptions role;
  DiscoveryOptions replicas;
  DetectionOptions detection;
  std::string api_keys, operator_keys;
  int64_t max_waiting = GatewayCoreOptions().max_waiting;
};

// The public side takes callers without a certificate; API keys are for them.
absl::StatusOr<TlsOptions> PublicTls(const TlsOptions& tls) {
  if (!tls.authority.empty() && tls.certificate.empty() && tls.key.empty()) {
    return absl::InvalidArgumentError(
        "--tls-ca alone would leave the public side without TLS: give --tls-cert, a certificate, "
        "and --tls-key too");
  }
  TlsOptions options = tls;
  options.authority.clear();
  return options;
}

absl::StatusOr<std::unique_ptr<KeyFile>> OpenKeys(const std::string& path, KeyKind kind) {
  if (path.empty()) return nullptr;
  return KeyFile::Open(path, kind);
}

const KeyRing* RingOf(const std::unique_ptr<KeyFile>& file) {
  return file == nullptr ? nullptr : &file->ring();
}

// Says that it is ready, once, when it is; and to the log whenever that changes.
class ReadyReport {
 public:
  ReadyReport(int ready_fd, RoleTelemetry* telemetry)
      : ready_fd_(ready_fd), telemetry_(telemetry) {}
  void SetServer(Server* server) { server_ = server; }  // before the first report
  void operator()(const absl::Status& status) {
    server_->SetServing(status.ok());
    telemetry_->port().SetReady(status);
    if (!status.ok()) {
      spdlog::warn("not ready: {}", Message(status));
      return;
    }
    spdlog::info("ready at {}", server_->address());
    const absl::Status reported =
        ReportReady(std::exchange(ready_fd_, -1), server_->address(), telemetry_->address());
    if (!reported.ok()) spdlog::error("{}", Message(reported));
  }

 private:
  Server* server_ = nullptr;
  int ready_fd_;
  RoleTelemetry* const telemetry_;
};

GatewayCoreOptions CoreOptions(const GatewayRoleOptions& o, Incarnation self) {
  return {.self = self,
          .max_waiting = o.max_waiting,
          .jitter_seed = self,
          .unix_epoch = std::chrono::system_clock::now().time_since_epoch() -
                        std::chrono::steady_clock::now().time_since_epoch(),
          .detection = o.detection.limits};
}

ServerOptions PublicServer(const GatewayRoleOptions& o,
                           const std::shared_ptr<grpc::ServerCredentials>& credentials,
                           GenerationServiceImpl* generation, ClusterServiceImpl* cluster,
                           GatewayDrainService* drain, MessageGuard* guard) {
  return {.listen = o.role.listen,
          .credentials = credentials,
          .services = {{v1::GenerationService::service_full_name(), generation},
                       {v1::ClusterService::service_full_name(), cluster, /*is_shown=*/false},
                       {v1::DrainService::service_full_name(), drain, /*is_shown=*/false}},
          .max_receive_bytes = limits::kMaxPublicMessageBytes,
          .is_public = true,
          .keepalive = o.detection.limits.keepalive,
          .keepalive_timeout = o.detection.limits.keepalive_timeout,
          .guard = guard};
}

// Text waits for a tokenizer as tokens wait for a route.
TokenizerClientOptions PatienceOf(const limits::DetectionLimits& limits) {
  TokenizerClientOptions options;
  options.wait = options.decode.give_up = limits.wait_for_route;
  return options;
}

LinkIdentity IdentityOf(Incarnation self) {
  return {.incarnation = self,
          .role = Role::kGateway,
          .fingerprint = "",
          .numerics_id = "",
          .rows = {}};
}

// What /metrics says of the gateway; all that it reads outlives the result.
OperatorPort::Registration ShowMetrics(OperatorPort* port, const Front& front,
                                       const GatewayActor& actor, const Discovery& discovery,
                                       const Readiness& readiness) {
  return port->Add([&](Exposition& page) {
    const GatewayView seen = actor.view();
    front.metrics.Collect(seen.model.name, page);
    CollectGatewayState(seen, discovery.replicas(), readiness.status().ok(), page);
  });
}

void PutBehind(Front* front, TokenLoop* loop, TokenizerClient* tokenizer,
               const ModelFactsSource* facts, WorkerPool* pool, const KeyRing* keys) {
  front->loop = loop;
  front->tokenizer = tokenizer;
  front->facts = facts;
  front->house.pool = pool;
  front->keys = keys;
}

// What runs has the grace, then it is ended.
void EndCalls(const RoleOptions& role, RunningCalls* calls, Drain* drain, Server* server) {
  spdlog::info("stopping; what runs has {} s", role.grace_s);
  server->SetServing(false);
  const size_t ended = calls->Drain(
      role.grace(), kLastWords, [drain](size_t left) { drain->Tell(static_cast<int64_t>(left)); });
  drain->End(static_cast<int64_t>(ended));
  server->Shutdown(kLastWords);
}

absl::Status RunGateway(GatewayRoleOptions o) {
  StopSignals stop;
  CATENA_RETURN_IF_ERROR(o.detection.Check());
  o.replicas.detection = o.detection.limits;
  CATENA_RETURN_IF_ERROR(InitLog(o.role.Log("gateway")));
  CATENA_ASSIGN_OR_RETURN(RoleTelemetry telemetry, RoleTelemetry::Start(o.role, "gateway"));
  CATENA_ASSIGN_OR_RETURN(const TlsOptions public_tls, PublicTls(o.role.tls));
  CATENA_ASSIGN_OR_RETURN(const auto server_credentials, MakeServerCredentials(public_tls));
  CATENA_ASSIGN_OR_RETURN(o.replicas.credentials,
                          MakeChannelCredentials(o.role.tls, PeerNames::kAnyMember));
  CATENA_ASSIGN_OR_RETURN(const auto api_keys, OpenKeys(o.api_keys, KeyKind::kApi));
  CATENA_ASSIGN_OR_RETURN(const auto operator_keys, OpenKeys(o.operator_keys, KeyKind::kOperator));
  Front front;
  RunningCalls cluster_calls(limits::kMaxClusterCalls, "questions about the cluster");
  ReplicaInfo info = DescribeProcess(Role::kGateway, o.role.listen, NewIncarnation());
  info.metrics = telemetry.address();
  const Incarnation self = info.replica.incarnation;
  GatewayActor actor(CoreOptions(o, self));
  GrpcTransport transport({.self = IdentityOf(self),
                           .credentials = o.replicas.credentials,
                           .detection = o.detection.limits},
                          &actor);
  Discovery discovery(o.replicas, &actor);
  TokenizerClient tokenizer(&discovery, PatienceOf(o.detection.limits));
  WorkerPool pool(2);
  PutBehind(&front, &actor, &tokenizer, &discovery, &pool, RingOf(api_keys));
  ReadyReport report(o.role.ready_fd, &telemetry);
  Readiness readiness({}, &actor, &discovery, [&report](const absl::Status& s) { report(s); });
  const auto describe = [&info] { return info; };
  const OperatorAccess access{.operator_keys = RingOf(operator_keys),
                              .has_api_keys = api_keys != nullptr};
  Drain drain(BeginDrain(o.role, &stop));
  GatewayDrainService drain_service({.drain = &drain,
                                     .discovery = &discovery,
                                     .describe = describe,
                                     .access = access,
                                     .house = &front.house,
                                     .calls = &cluster_calls,
                                     .refused = &front.refused});
  ClusterServiceImpl cluster({.gateway = &actor,
                              .discovery = &discovery,
                              .readiness = &readiness,
                              .metrics = &front.metrics,
                              .describe = describe,
                              .access = access,
                              .house = &front.house,
                              .calls = &cluster_calls,
                              .refused = &front.refused});
  GenerationServiceImpl generation(&front);
  const auto shown = ShowMetrics(&telemetry.port(), front, actor, discovery, readiness);
  CATENA_ASSIGN_OR_RETURN(const auto server,
                          Server::Start(PublicServer(o, server_credentials, &generation, &cluster,
                                                     &drain_service, &front.house.guard)));
  info.replica.address = server->address();
  report.SetServer(server.get());
  actor.Start(&transport);
  discovery.Start();
  readiness.Start();
  stop.Wait();
  readiness.Stop();
  telemetry.port().SetReady(absl::UnavailableError("it is stopping"));
  EndCalls(o.role, &front.calls, &drain, server.get());
  discovery.Stop();
  pool.Stop();
  actor.Stop();
  transport.Shutdown();
  return absl::OkStatus();
}

}  // namespace

Action DeclareGateway(App& app) {
  auto o = std::make_shared<GatewayRoleOptions>();
  o->role.Declare(app);
  o->detection.DeclareForGateway(app);
  const char* where = "Where to find them: host:port (every address of the name) or unix:/path";
  app.AddOption("--tokenizer", &o->replicas.tokenizers, where).Delimiter(',').Required();
  app.AddOption("--shard", &o->replicas.shards, where).Delimiter(',').Required();
  app.AddOption("--head", &o->replicas.heads, where).Delimiter(',').Required();
  app.AddOption("--api-keys", &o->api_keys, "File of keys, one a line (default: anyone may ask)");
  app.AddOption("--operator-keys", &o->operator_keys,
                "File of the keys with which `catena status`, `debug` and `drain` are let in");
  app.AddOption("--max-waiting", &o->max_waiting, "Requests in the queue (default 1024)")
      .Range(1, 1 << 20);
  return [o] { return RunGateway(*o); };
}

}  // namespace catena::cli
