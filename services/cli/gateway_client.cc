#include "services/cli/gateway_client.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include <poll.h>

#include "services/cli/interrupt.h"

namespace catena::cli {
namespace {

// Ctrl-C does not wake a call that waits: it is looked for so often.
constexpr std::chrono::milliseconds kLookEvery{20};
constexpr std::chrono::milliseconds kAnswerBound{10'000};  // of what needs no model

// Cancels a call when Ctrl-C is pressed, as long as it lives.
class CancelOnInterrupt {
 public:
  explicit CancelOnInterrupt(grpc::ClientContext* context)
      : thread_([this, context] { Watch(context); }) {}
  ~CancelOnInterrupt() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

 private:
  void Watch(grpc::ClientContext* context) {
    const std::atomic<bool>& interrupted = InterruptFlag();
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kLookEvery, [this] { return done_; })) {
      if (interrupted.load()) return context->TryCancel();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

template <typename Response, typename Start>
absl::Status ReadStream(const GatewayOptions& options, Start start,
                        const std::function<absl::Status(const Response&)>& take) {
  grpc::ClientContext context;
  options.Authorize(&context);
  const auto reader = start(&context);
  CancelOnInterrupt cancel(&context);
  absl::Status taken;
  bool answered = false;
  Response response;
  while (taken.ok() && reader->Read(&response)) {
    answered = true;
    taken = take(response);
  }
  if (!taken.ok()) context.TryCancel();
  const grpc::Status status = reader->Finish();
  CATENA_RETURN_IF_ERROR(taken);
  return options.ToStatus(status, answered);
}

}  // namespace

absl::StatusOr<GatewayClient> GatewayClient::Connect(const GatewayOptions& options) {
  CATENA_ASSIGN_OR_RETURN(const auto channel, options.Connect());
  return GatewayClient(options, v1::GenerationService::NewStub(channel));
}

absl::Status GatewayClient::Generate(
    const v1::GenerateRequest& request,
    const std::function<absl::Status(const v1::GenerateResponse&)>& take) {
  return ReadStream<v1::GenerateResponse>(
      options_, [&](grpc::ClientContext* c) { return stub_->Generate(c, request); }, take);
}

absl::Status GatewayClient::Score(
    const v1::ScoreRequest& request,
    const std::function<absl::Status(const v1::ScoreResponse&)>& take) {
  return ReadStream<v1::ScoreResponse>(
      options_, [&](grpc::ClientContext* c) { return stub_->Score(c, request); }, take);
}

absl::Status GatewayClient::AwaitGateway() {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + options_.wait_for_gateway;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    grpc::ClientContext context;
    options_.Prepare(left, &context);
    context.set_wait_for_ready(true);
    CancelOnInterrupt cancel(&context);
    v1::ListModelsResponse response;
    const absl::Status status = options_.ToStatus(stub_->ListModels(&context, {}, &response));
    if (status.ok() || InterruptFlag().load()) return status;
    // The connection that has just broken, or a gateway that stops, may take this call with it, and
    // one that has just started does not know its replicas yet.
    const bool passes = absl::IsUnavailable(status) || absl::IsCancelled(status);
    if (!passes || left <= kLookEvery) return status;
    poll(nullptr, 0, static_cast<int>(kLookEvery.count()));
  }
}

absl::StatusOr<v1::ListModelsResponse> GatewayClient::ListModels() {
  grpc::ClientContext context;
  options_.Prepare(kAnswerBound, &context);
  CancelOnInterrupt cancel(&context);
  v1::ListModelsResponse response;
  CATENA_RETURN_IF_ERROR(options_.ToStatus(stub_->ListModels(&context, {}, &response)));
  return response;
}

}  // namespace catena::cli
