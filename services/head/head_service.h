// The gRPC service of a head: see services/link/stage_service.h.
#pragma once

#include "catena/v1/head.grpc.pb.h"

#include "services/link/stage_service.h"

namespace catena {

struct HeadApi {
  using Service = v1::HeadService;
  using DescribeRequest = v1::HeadServiceDescribeRequest;
  using DescribeResponse = v1::HeadServiceDescribeResponse;
  using DebugRequest = v1::HeadServiceDebugSequenceRequest;
  using DebugResponse = v1::HeadServiceDebugSequenceResponse;
};
using HeadServiceImpl = StageService<HeadApi>;

}  // namespace catena
