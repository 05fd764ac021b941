// The gRPC service of a shard and of a head, which differ in their names only: links, Describe,
// DebugSequence.
//
// Thread rules: gRPC calls the methods from its own threads; nothing here blocks them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "runtime/chain/core.h"
#include "runtime/chain/replica_info.h"
#include "services/common/replica_description.h"
#include "services/common/status.h"
#include "services/link/grpc_transport.h"

namespace catena {

// What a stage tells, from any thread.
struct StageServiceOptions {
  GrpcTransport* transport = nullptr;  // outlives the service
  std::function<ReplicaInfo()> describe;
  // Calls back, once, from any thread.
  std::function<void(const SequenceKey&, std::function<void(std::optional<SequenceView>)>)> view;
};

inline void EncodeView(const SequenceView& view, v1::SequenceAtStage* out) {
  out->set_open(true);
  out->set_epoch(view.life.epoch);
  out->set_round(view.life.round);
  out->set_length(view.length);
  out->set_queued_end(view.queued_end);
  out->set_cursor(view.cursor);
  out->set_journal_begin(view.journal_begin);
  out->set_window_end(view.window_end);
}

// `Api` names the generated types: Service, Describe{Request,Response}, Debug{Request,Response}.
template <class Api>
class StageService final : public Api::Service::template WithRawCallbackMethod_Link<
                               typename Api::Service::template WithCallbackMethod_Describe<
                                   typename Api::Service::template WithCallbackMethod_DebugSequence<
                                       typename Api::Service::Service>>> {
 public:
  static const char* Name() { return Api::Service::service_full_name(); }

  explicit StageService(StageServiceOptions options) : options_(std::move(options)) {}

  GrpcTransport::Reactor* Link(grpc::CallbackServerContext* context) override {
    return options_.transport->Accept(context);
  }

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context,
                                     const typename Api::DescribeRequest*,
                                     typename Api::DescribeResponse* response) override {
    EncodeReplicaInfo(options_.describe(), response->mutable_replica());
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* DebugSequence(grpc::CallbackServerContext* context,
                                          const typename Api::DebugRequest* request,
                                          typename Api::DebugResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const absl::StatusOr<SequenceKey> key = ParseSequenceKey(request->sequence_id());
    if (!key.ok()) {
      reactor->Finish(ToGrpcStatus(key.status()));
      return reactor;
    }
    const ReplicaInfo info = options_.describe();
    v1::SequenceAtStage* stage = response->mutable_stage();
    stage->set_address(info.replica.address);
    stage->set_role(static_cast<v1::Role>(static_cast<int>(info.role) + 1));
    stage->set_layer_begin(info.layers.begin);
    stage->set_layer_end(info.layers.end);
    options_.view(*key, [reactor, stage](const std::optional<SequenceView>& view) {
      if (view) EncodeView(*view, stage);
      reactor->Finish(grpc::Status::OK);
    });
    return reactor;
  }

 private:
  const StageServiceOptions options_;
};

}  // namespace catena
