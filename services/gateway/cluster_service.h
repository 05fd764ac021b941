// What `catena status` and `catena debug` ask: the gateway's view of all replicas, and one sequence
// as each stage holds it.
//
// Thread rules: gRPC calls the methods from its own threads; nothing here blocks them.
#pragma once

#include <functional>

#include "catena/v1/cluster.grpc.pb.h"

#include "runtime/actor/gateway_actor.h"
#include "services/gateway/discovery.h"
#include "services/gateway/readiness.h"

namespace catena {

struct ClusterServiceOptions {
  GatewayActor* gateway = nullptr;  // these outlive the service
  Discovery* discovery = nullptr;
  Readiness* readiness = nullptr;
  std::function<ReplicaInfo()> describe;  // the gateway itself
};

class ClusterServiceImpl final : public v1::ClusterService::CallbackService {
 public:
  explicit ClusterServiceImpl(ClusterServiceOptions options) : options_(std::move(options)) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse* response) override;
  grpc::ServerUnaryReactor* DebugSequence(grpc::CallbackServerContext* context,
                                          const v1::DebugSequenceRequest* request,
                                          v1::DebugSequenceResponse* response) override;

 private:
  void FillStatus(const GatewayView& view, v1::GetStatusResponse* response) const;

  const ClusterServiceOptions options_;
};

}  // namespace catena
