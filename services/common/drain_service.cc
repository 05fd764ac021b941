#include "services/common/drain_service.h"

#include <utility>

#include "services/common/replica_description.h"
#include "services/common/request_limits.h"

namespace catena {

v1::DrainResponse EncodeDrain(const ReplicaInfo& replica, const DrainProgress& progress) {
  v1::DrainResponse response;
  EncodeReplicaInfo(replica, response.mutable_replica());
  response.set_left(progress.left);
  response.set_ended(progress.ended);
  return response;
}

class DrainServiceImpl::Call final : public GuardedCall<v1::DrainRequest, v1::DrainResponse> {
 public:
  Call(Drain* drain, std::function<ReplicaInfo()> describe)
      : GuardedCall(limits::kMaxQuestionBytes, Messages::kOne),
        drain_(drain),
        describe_(std::move(describe)) {}

 private:
  void Take(v1::DrainRequest request) override {
    if (!request.address().empty()) {
      return FinishOnce(absl::InvalidArgumentError(
          "only a gateway asks others to drain; give its address as the gateway's"));
    }
    watch_ = drain_->Ask([this, replica = describe_()](const DrainProgress& progress) {
      Send(EncodeDrain(replica, progress));
      if (progress.ended) End(absl::OkStatus());
    });
  }
  void OnGone() override { watch_.reset(); }

  Drain* const drain_;
  const std::function<ReplicaInfo()> describe_;
  std::shared_ptr<void> watch_;
};

DrainServiceImpl::DrainServiceImpl(Drain* drain, std::function<ReplicaInfo()> describe,
                                   MessageGuard* guard)
    : GuardedService(guard, kMaxDrainCalls) {
  AddCall(std::string(v1::DrainService::service_full_name()), "Drain",
          [drain, describe = std::move(describe)](grpc::CallbackServerContext*) {
            return std::make_shared<Call>(drain, describe);
          });
}

}  // namespace catena
