#include "services/gateway/readiness.h"

#include <future>

namespace catena {

class Readiness::Listener final : public LoopListener {
 public:
  void OnStart(PublicId) override {}
  void OnToken(const Token&) override {}
  void OnEnd(const absl::Status& status, FinishReason, const LoopStats&) override {
    done.set_value(status);
  }
  std::promise<absl::Status> done;
};

Readiness::Readiness(const ReadinessOptions& options, GatewayActor* gateway,
                     const ModelFactsSource* facts,
                     std::function<void(const absl::Status&)> on_change)
    : options_(options), gateway_(gateway), facts_(facts), on_change_(std::move(on_change)) {}

Readiness::~Readiness() { Stop(); }

void Readiness::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Readiness::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

absl::Status Readiness::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void Readiness::Loop() {
  while (true) {
    const absl::Status now = Look();
    std::unique_lock lock(mutex_);
    const bool changed = now != status_;
    status_ = now;
    if (changed) {
      lock.unlock();
      on_change_(now);
      lock.lock();
    }
    if (wake_.wait_for(lock, options_.look_every, [this] { return stopped_; })) return;
  }
}

absl::Status Readiness::Look() {
  const GatewayView view = gateway_->view();
  CATENA_RETURN_IF_ERROR(view.route);
  CATENA_ASSIGN_OR_RETURN(const auto facts, facts_->Facts());
  const bool was_ready = status().ok();
  const Clock::time_point now = Clock::now();
  // Requests that run are proof enough, and a token would wait behind them.
  if (was_ready && (now < token_at_ || view.running > 0)) return absl::OkStatus();
  absl::Status sent = SendToken(*facts);
  token_at_ = Clock::now() + options_.token_every;
  // No room is no fault.
  if (absl::IsResourceExhausted(sent)) sent = absl::OkStatus();
  return Annotate(sent, "no token came through the chain");
}

absl::Status Readiness::SendToken(const ModelFacts& facts) {
  LoopRequest request;
  request.prompt = {static_cast<int32_t>(facts.model.vocab_size > 1 ? 1 : 0)};
  request.params.max_tokens = 1;
  request.params.ignore_eos = true;
  request.deadline = Clock::now() + options_.token_timeout;
  auto listener = std::make_shared<Listener>();
  std::future<absl::Status> done = listener->done.get_future();
  const uint64_t ticket = gateway_->Submit(std::move(request), listener);
  while (done.wait_for(options_.look_every) != std::future_status::ready) {
    const std::lock_guard lock(mutex_);
    if (!stopped_) continue;
    gateway_->Cancel(ticket);
    return absl::CancelledError("it is stopping");
  }
  return done.get();
}

}  // namespace catena
