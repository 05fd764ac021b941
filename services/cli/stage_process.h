// A shard or a head as a process: its actor between a transport and a server, until a signal.
#pragma once

#include <future>
#include <memory>
#include <string>

#include <spdlog/spdlog.h>

#include "runtime/chain/error_facts.h"
#include "runtime/stage/layer_range.h"
#include "services/cli/role_options.h"
#include "services/cli/role_telemetry.h"
#include "services/common/drain_service.h"
#include "services/common/log.h"
#include "services/common/process.h"
#include "services/common/server.h"
#include "services/link/chain_service.h"
#include "services/link/dial_rules.h"
#include "services/link/grpc_transport.h"

namespace catena::cli {

// A model that a stage is to be loaded from.
struct StageModel {
  Model model;
  int64_t context = 0;
  ModelInfo info;
};

inline absl::StatusOr<StageModel> OpenStageModel(const StageOptionsOfRole& o) {
  CATENA_RETURN_IF_ERROR(o.detection.Check());
  CATENA_RETURN_IF_ERROR(o.compute.cpu_target.Choose());
  StageModel m;
  CATENA_ASSIGN_OR_RETURN(m.model, OpenModel(o.model, LogWarning));
  CATENA_ASSIGN_OR_RETURN(m.context, o.Context(m.model.config()));
  CATENA_ASSIGN_OR_RETURN(const std::string fingerprint, ModelFingerprint(m.model, o.model));
  m.info = DescribeModel(o.name, o.model.model, fingerprint, m.model.config(), m.context);
  return m;
}

// Takes no more sequences, and ends those that still run after `grace` or at the next signal: how
// many, of which there is word as they go.
template <class ActorT>
int64_t EndSequences(std::chrono::milliseconds grace, StopSignals* stop, Drain* drain,
                     ActorT* actor) {
  spdlog::info("stopping; {} sequences have {} s", actor->load().sequences, grace.count() / 1000);
  actor->Drain();
  int64_t left = 0;
  const auto none = [&] {
    drain->Tell(left = actor->load().sequences);
    return left == 0;
  };
  stop->WaitUntil(none, grace);
  const auto told = std::make_shared<std::promise<void>>();
  actor->EndAll(WithReason(absl::UnavailableError("it is stopping; send the request again"),
                           ErrorReason::kDraining),
                [told] { told->set_value(); });
  told->get_future().wait_for(kLastWords);
  return left;
}

template <class ActorT>
std::function<StageSnapshot()> LookAt(const ActorT* actor) {
  return [actor] {
    ReplicaInfo now;
    actor->Describe(&now);
    return StageSnapshot{.load = now.load,
                         .counters = actor->counters(),
                         .broken_edges = std::ssize(now.broken_edges)};
  };
}

// Serves until SIGINT or SIGTERM, seen at `telemetry`. `next`: where it may send rows
// (dial_rules.h). `ActorT`: StageActor or HeadActor. REQUIRES: `stop` was made before any thread.
template <class ActorT>
absl::Status ServeStage(const StageOptionsOfRole& o, Role role, const LayerRange& layers,
                        const ModelInfo& model, const std::vector<std::string>& next,
                        RoleTelemetry* telemetry, StopSignals* stop, ActorT* actor) {
  CATENA_ASSIGN_OR_RETURN(const auto server_credentials, MakeServerCredentials(o.role.tls));
  CATENA_ASSIGN_OR_RETURN(const auto channel_credentials,
                          MakeChannelCredentials(o.role.tls, PeerNames::kAnyMember));
  ReplicaInfo info = DescribeProcess(role, o.role.listen, NewIncarnation());
  info.layers = layers;
  info.model = model;
  // Sequences may only share stages whose caches round alike.
  info.numerics_id = actor->numerics_id() + "/kv-" + o.compute.kv_dtype;
  info.row_bytes = actor->row_bytes();
  info.metrics = telemetry->address();
  const DialRules rules(
      {.targets = next, .peers_show_certificates = !o.role.tls.authority.empty()});
  const RowFormat rows{.dtype = actor->row_dtype(), .row_bytes = info.row_bytes};
  MessageGuard guard({.all = limits::kMaxInternalUnfinishedBytes});
  GrpcTransport transport(
      {.self = {.incarnation = info.replica.incarnation,
                .role = role,
                .fingerprint = model.fingerprint,
                .numerics_id = info.numerics_id,
                .rows = rows},
       .credentials = channel_credentials,
       .detection = o.detection.limits,
       .may_call = [&rules](const std::string& address) { return rules.Check(address); },
       .guard = &guard},
      actor);
  auto describe = [&info, actor] {
    ReplicaInfo now = info;
    actor->Describe(&now);
    return now;
  };
  auto view = [actor](const SequenceKey& key, auto done) { actor->View(key, std::move(done)); };
  ChainServiceImpl service(
      {.transport = &transport, .describe = describe, .view = view, .guard = &guard});
  Drain drain(BeginDrain(o.role, stop));
  DrainServiceImpl drain_service(&drain, describe, &guard);
  CATENA_ASSIGN_OR_RETURN(
      const auto server,
      Server::Start({.listen = o.role.listen,
                     .credentials = server_credentials,
                     .services = {{v1::ChainService::service_full_name(), &service},
                                  {v1::DrainService::service_full_name(), &drain_service}},
                     .max_receive_bytes = MaxFrameBytes(rows),
                     .keepalive = o.detection.limits.keepalive,
                     .keepalive_timeout = o.detection.limits.keepalive_timeout,
                     .guard = &guard}));
  info.replica.address = server->address();
  actor->OnRowFaults(LogRowFaults());
  const StageTelemetry stage_telemetry(&telemetry->port(), LookAt(actor),
                                       o.detection.limits.no_progress, &transport);
  actor->Start(&transport);
  server->SetServing(true);
  telemetry->port().SetReady(absl::OkStatus());
  spdlog::info("serving {} at {}", model.name, server->address());
  const absl::Status reported =
      ReportReady(o.role.ready_fd, server->address(), telemetry->address());
  if (reported.ok()) stop->Wait();
  telemetry->port().SetReady(absl::UnavailableError("it is stopping"));
  server->SetServing(false);
  const int64_t left = EndSequences(o.role.grace(), stop, &drain, actor);
  transport.Shutdown();
  drain.End(left);
  server->Shutdown(std::chrono::seconds(2));
  actor->Stop();
  return reported;
}

}  // namespace catena::cli
