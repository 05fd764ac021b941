// What `catena status` and `catena debug` ask: the gateway's view of all replicas, and one sequence
// as each stage holds it. It is for operators (operator_access.h).
//
// Thread rules: gRPC calls the methods from its own threads; nothing here blocks them.
#pragma once

#include <functional>

#include "catena/v1/cluster.grpc.pb.h"

#include "runtime/actor/gateway_actor.h"
#include "services/common/header_first_service.h"
#include "services/gateway/discovery.h"
#include "services/gateway/gateway_metrics.h"
#include "services/gateway/operator_access.h"
#include "services/gateway/public_call.h"
#include "services/gateway/readiness.h"

namespace catena {

// All that it points at outlives the service, and what discovery and gateway still hold of calls.
struct ClusterServiceOptions {
  GatewayActor* gateway = nullptr;
  Discovery* discovery = nullptr;
  Readiness* readiness = nullptr;
  const GatewayMetrics* metrics = nullptr;
  std::function<ReplicaInfo()> describe;  // the gateway itself
  OperatorAccess access;
  CallHouse* house = nullptr;
  RunningCalls* calls = nullptr;  // of this service
  RunningCalls* refused = nullptr;
};

class ClusterServiceImpl final : public HeaderFirstService {
 public:
  explicit ClusterServiceImpl(ClusterServiceOptions options);

 private:
  // A method that `Call` answers.
  template <typename Call, typename Response>
  void AddCall(const std::string& method);

  const ClusterServiceOptions options_;
};

}  // namespace catena
