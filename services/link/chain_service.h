// What a shard and a head serve: links, Describe, DebugSequence.
//
// Thread rules: gRPC calls the methods from its own threads; nothing here blocks them.
#pragma once

#include <functional>
#include <optional>

#include "catena/v1/chain.grpc.pb.h"

#include "runtime/chain/core.h"
#include "runtime/chain/replica_info.h"
#include "services/common/guarded_service.h"
#include "services/link/grpc_transport.h"

namespace catena {

// What a stage tells, from any thread.
struct ChainServiceOptions {
  GrpcTransport* transport = nullptr;  // outlives the service
  std::function<ReplicaInfo()> describe;
  // Calls back, once, from any thread.
  std::function<void(const SequenceKey&, std::function<void(std::optional<SequenceView>)>)> view;
  MessageGuard* guard = nullptr;  // of the server (GuardedService)
};

class ChainServiceImpl final : public GuardedService {
 public:
  explicit ChainServiceImpl(ChainServiceOptions options);

 private:
  class DebugCall;

  const ChainServiceOptions options_;
};

}  // namespace catena
