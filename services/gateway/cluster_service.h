// What `catena status` and `catena debug` ask: the gateway's view of all replicas, and one sequence
// as each stage holds it. Whoever may use the public API may ask.
//
// Thread rules: gRPC calls the methods from its own threads; nothing here blocks them.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "catena/v1/cluster.grpc.pb.h"

#include "runtime/actor/gateway_actor.h"
#include "services/gateway/api_keys.h"
#include "services/gateway/discovery.h"
#include "services/gateway/readiness.h"

namespace catena {

struct ClusterServiceOptions {
  GatewayActor* gateway = nullptr;  // these outlive the service
  Discovery* discovery = nullptr;
  Readiness* readiness = nullptr;
  std::function<ReplicaInfo()> describe;  // the gateway itself
  ApiKeys keys;                           // as of the public API
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
  // A place among the calls that are answered, until it is let go.
  absl::StatusOr<std::shared_ptr<void>> Admit(const grpc::CallbackServerContext& context) const;
  void FillStatus(const GatewayView& view, v1::GetStatusResponse* response) const;

  const ClusterServiceOptions options_;
  const std::shared_ptr<std::atomic<int>> calls_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace catena
