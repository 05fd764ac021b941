#include "services/gateway/cluster_service.h"

#include <algorithm>

#include "services/common/replica_description.h"
#include "services/common/request_limits.h"
#include "services/common/status.h"
#include "services/gateway/debug_fan_out.h"

namespace catena {
namespace {

v1::ReplicaHealth HealthOf(const KnownReplica& replica, const std::string& refused) {
  if (!replica.answers) return v1::REPLICA_HEALTH_UNREACHABLE;
  return refused.empty() ? v1::REPLICA_HEALTH_SERVING : v1::REPLICA_HEALTH_REFUSED;
}

// In the order of data: tokenizers, shards by their blocks, heads.
bool Before(const KnownReplica& a, const KnownReplica& b) {
  auto rank = [](const KnownReplica& r) {
    return std::tuple(static_cast<int>(r.role), r.info.layers.begin, r.info.layers.end, r.address);
  };
  return rank(a) < rank(b);
}

}  // namespace

absl::StatusOr<std::shared_ptr<void>> ClusterServiceImpl::Admit(
    const grpc::CallbackServerContext& context) const {
  CATENA_RETURN_IF_ERROR(options_.keys.Check(context));
  std::shared_ptr<void> place(nullptr, [calls = calls_](void*) { --*calls; });
  if (++*calls_ <= limits::kMaxClusterCalls) return place;
  return absl::ResourceExhaustedError(fmt::format(
      "{} calls ask for the cluster's status already; ask less often", limits::kMaxClusterCalls));
}

grpc::ServerUnaryReactor* ClusterServiceImpl::GetStatus(grpc::CallbackServerContext* context,
                                                        const v1::GetStatusRequest*,
                                                        v1::GetStatusResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto place = Admit(*context);
  if (!place.ok()) {
    reactor->Finish(ToGrpcStatus(place.status()));
    return reactor;
  }
  options_.discovery->AskNow([this, reactor, response, place = *place] {
    options_.gateway->AskView([this, reactor, response, place](const GatewayView& view) {
      FillStatus(view, response);
      reactor->Finish(grpc::Status::OK);
    });
  });
  return reactor;
}

void ClusterServiceImpl::FillStatus(const GatewayView& view,
                                    v1::GetStatusResponse* response) const {
  // What the replicas have just said is newer than the last look at them.
  absl::Status ready = view.route;
  if (ready.ok()) ready = options_.discovery->Facts().status();
  if (ready.ok()) ready = options_.readiness->status();
  response->set_ready(ready.ok());
  response->set_problem(std::string(Message(ready)));
  response->set_requests_waiting(view.waiting);
  response->set_requests_running(view.running);
  EncodeReplicaInfo(options_.describe(), response->mutable_gateway());
  std::vector<KnownReplica> replicas = options_.discovery->replicas();
  std::sort(replicas.begin(), replicas.end(), Before);
  for (const KnownReplica& replica : replicas) {
    const std::string why = WhyRefused(replica, view);
    v1::ReplicaStatus* out = response->add_replicas();
    ReplicaInfo info = replica.info;
    info.replica.address = replica.address;
    info.role = replica.role;
    EncodeReplicaInfo(info, out->mutable_replica());
    out->set_health(HealthOf(replica, why));
    out->set_problem(replica.answers ? why : replica.problem);
  }
}

grpc::ServerUnaryReactor* ClusterServiceImpl::DebugSequence(grpc::CallbackServerContext* context,
                                                            const v1::DebugSequenceRequest* request,
                                                            v1::DebugSequenceResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto place = Admit(*context);
  const absl::StatusOr<PublicId> id = ParsePublicId(request->sequence_id());
  if (!place.ok() || !id.ok()) {
    reactor->Finish(ToGrpcStatus(place.ok() ? id.status() : place.status()));
    return reactor;
  }
  const ReplicaInfo self = options_.describe();
  Discovery* discovery = options_.discovery;
  options_.gateway->View(*id, [=](const std::optional<SequenceAtGateway>& sequence) {
    if (!sequence) {
      reactor->Finish(grpc::Status(
          grpc::StatusCode::NOT_FOUND,
          fmt::format("sequence {} does not run here; it may have ended", ToString(*id))));
      return;
    }
    v1::SequenceAtStage* own = response->add_stages();
    own->set_address(self.replica.address);
    own->set_role(v1::ROLE_GATEWAY);
    EncodeView(sequence->view, own);
    std::vector<KnownReplica> stages = discovery->replicas();
    std::sort(stages.begin(), stages.end(), Before);
    AskStages(sequence->key, stages, *discovery, response,
              [reactor, place](const grpc::Status& status) { reactor->Finish(status); });
  });
  return reactor;
}

}  // namespace catena
