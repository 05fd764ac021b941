// DrainService of a gateway: ends the gateway itself, or asks one of its replicas in an operator's
// stead, who often reaches the gateway alone. It is for operators (operator_access.h).
//
// Thread rules: gRPC calls the methods from its own threads; nothing here blocks them.
#pragma once

#include <functional>

#include "catena/v1/cluster.grpc.pb.h"

#include "services/common/drain.h"
#include "services/common/header_first_service.h"
#include "services/gateway/discovery.h"
#include "services/gateway/operator_access.h"
#include "services/gateway/public_call.h"

namespace catena {

// All that it points at outlives the service.
struct GatewayDrainOptions {
  Drain* drain = nullptr;  // the gateway's own
  const Discovery* discovery = nullptr;
  std::function<ReplicaInfo()> describe;  // the gateway itself
  OperatorAccess access;
  CallHouse* house = nullptr;
  RunningCalls* calls = nullptr;
  RunningCalls* refused = nullptr;
};

class GatewayDrainService final : public HeaderFirstService {
 public:
  explicit GatewayDrainService(GatewayDrainOptions options);

 private:
  const GatewayDrainOptions options_;
};

}  // namespace catena
