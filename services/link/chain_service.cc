#include "services/link/chain_service.h"

#include "services/common/replica_description.h"
#include "services/common/status.h"

namespace catena {

GrpcTransport::Reactor* ChainServiceImpl::Link(grpc::CallbackServerContext* context) {
  return options_.transport->Accept(context);
}

grpc::ServerUnaryReactor* ChainServiceImpl::Describe(grpc::CallbackServerContext* context,
                                                     const v1::ChainServiceDescribeRequest*,
                                                     v1::ChainServiceDescribeResponse* response) {
  EncodeReplicaInfo(options_.describe(), response->mutable_replica());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* ChainServiceImpl::DebugSequence(
    grpc::CallbackServerContext* context, const v1::ChainServiceDebugSequenceRequest* request,
    v1::ChainServiceDebugSequenceResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::StatusOr<SequenceKey> key = ParseSequenceKey(request->sequence_id());
  if (!key.ok()) {
    reactor->Finish(ToGrpcStatus(key.status()));
    return reactor;
  }
  const ReplicaInfo info = options_.describe();
  v1::SequenceAtStage* stage = response->mutable_stage();
  stage->set_address(info.replica.address);
  stage->set_role(EncodeRole(info.role));
  stage->set_layer_begin(info.layers.begin);
  stage->set_layer_end(info.layers.end);
  options_.view(*key, [reactor, stage](const std::optional<SequenceView>& view) {
    if (view) EncodeView(*view, stage);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

}  // namespace catena
