// What a shard and a head serve: links, Describe, DebugSequence.
//
// Thread rules: gRPC calls the methods from its own threads; nothing here blocks them.
#pragma once

#include <functional>
#include <optional>

#include "catena/v1/chain.grpc.pb.h"

#include "runtime/chain/core.h"
#include "runtime/chain/replica_info.h"
#include "services/link/grpc_transport.h"

namespace catena {

// What a stage tells, from any thread.
struct ChainServiceOptions {
  GrpcTransport* transport = nullptr;  // outlives the service
  std::function<ReplicaInfo()> describe;
  // Calls back, once, from any thread.
  std::function<void(const SequenceKey&, std::function<void(std::optional<SequenceView>)>)> view;
};

class ChainServiceImpl final
    : public v1::ChainService::WithRawCallbackMethod_Link<
          v1::ChainService::WithCallbackMethod_Describe<
              v1::ChainService::WithCallbackMethod_DebugSequence<v1::ChainService::Service>>> {
 public:
  explicit ChainServiceImpl(ChainServiceOptions options) : options_(std::move(options)) {}

  GrpcTransport::Reactor* Link(grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context,
                                     const v1::ChainServiceDescribeRequest* request,
                                     v1::ChainServiceDescribeResponse* response) override;
  grpc::ServerUnaryReactor* DebugSequence(grpc::CallbackServerContext* context,
                                          const v1::ChainServiceDebugSequenceRequest* request,
                                          v1::ChainServiceDebugSequenceResponse* response) override;

 private:
  const ChainServiceOptions options_;
};

}  // namespace catena
