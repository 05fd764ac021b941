#include "services/link/chain_service.h"

#include <utility>

#include "services/common/replica_description.h"
#include "services/common/request_limits.h"
#include "services/common/status.h"

namespace catena {

class ChainServiceImpl::DebugCall final
    : public GuardedUnary<v1::ChainServiceDebugSequenceRequest,
                          v1::ChainServiceDebugSequenceResponse> {
 public:
  explicit DebugCall(const ChainServiceOptions& options)
      : GuardedUnary(limits::kMaxQuestionBytes), options_(options) {}

 private:
  void Begin(v1::ChainServiceDebugSequenceRequest request) override {
    const absl::StatusOr<SequenceKey> key = ParseSequenceKey(request.sequence_id());
    if (!key.ok()) return Fail(key.status());
    options_.view(*key, [self = Self<DebugCall>(),
                         info = options_.describe()](const std::optional<SequenceView>& view) {
      v1::ChainServiceDebugSequenceResponse response;
      v1::SequenceAtStage* stage = response.mutable_stage();
      stage->set_address(info.replica.address);
      stage->set_role(EncodeRole(info.role));
      stage->set_layer_begin(info.layers.begin);
      stage->set_layer_end(info.layers.end);
      if (view) EncodeView(*view, stage);
      self->Reply(std::move(response));
    });
  }

  const ChainServiceOptions& options_;
};

ChainServiceImpl::ChainServiceImpl(ChainServiceOptions options)
    : GuardedService(options.guard, limits::kMaxQuestions), options_(std::move(options)) {
  const std::string service(v1::ChainService::service_full_name());
  using DescribeCall =
      PromptCall<v1::ChainServiceDescribeRequest, v1::ChainServiceDescribeResponse>;
  Add<grpc::ByteBuffer>(service, "Link", [this](grpc::CallbackServerContext* context) {
    return options_.transport->Accept(context);
  });
  AddCall(service, "Describe", [this](grpc::CallbackServerContext*) {
    return std::make_shared<DescribeCall>(limits::kMaxQuestionBytes, [this](const auto&) {
      v1::ChainServiceDescribeResponse response;
      EncodeReplicaInfo(options_.describe(), response.mutable_replica());
      return response;
    });
  });
  AddCall(service, "DebugSequence",
          [this](grpc::CallbackServerContext*) { return std::make_shared<DebugCall>(options_); });
}

}  // namespace catena
