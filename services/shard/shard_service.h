// The gRPC service of a shard: see services/link/stage_service.h.
#pragma once

#include "catena/v1/shard.grpc.pb.h"

#include "services/link/stage_service.h"

namespace catena {

struct ShardApi {
  using Service = v1::ShardService;
  using DescribeRequest = v1::ShardServiceDescribeRequest;
  using DescribeResponse = v1::ShardServiceDescribeResponse;
  using DebugRequest = v1::ShardServiceDebugSequenceRequest;
  using DebugResponse = v1::ShardServiceDebugSequenceResponse;
};
using ShardServiceImpl = StageService<ShardApi>;

}  // namespace catena
