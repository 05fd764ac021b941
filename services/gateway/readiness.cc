#include "services/gateway/readiness.h"

namespace catena {

class Readiness::Listener final : public LoopListener {
 public:
  Listener(std::shared_ptr<Ends> ends, uint64_t probe) : ends_(std::move(ends)), probe_(probe) {}
  void OnStart(PublicId) override {}
  void OnToken(const Token&) override {}
  void OnEnd(const absl::Status& status, FinishReason, const LoopStats&) override {
    const std::lock_guard lock(ends_->mutex);
    ends_->ended.emplace_back(probe_, status);
  }

 private:
  const std::shared_ptr<Ends> ends_;
  const uint64_t probe_;
};

Readiness::Readiness(const ReadinessOptions& options, GatewayActor* gateway,
                     const ModelFactsSource* facts,
                     std::function<void(const absl::Status&)> on_change)
    : options_(options),
      gateway_(gateway),
      facts_(facts),
      on_change_(std::move(on_change)),
      judge_(options),
      status_(judge_.status()) {}

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
  for (const auto& [probe, ticket] : std::exchange(tickets_, {})) gateway_->Cancel(ticket);
}

absl::Status Readiness::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

std::string Readiness::Trouble(Incarnation replica) const {
  const std::lock_guard lock(mutex_);
  const auto it = troubles_.find(replica);
  return it == troubles_.end() ? "" : it->second;
}

void Readiness::Loop() {
  while (true) {
    Look();
    std::unique_lock lock(mutex_);
    const bool changed = judge_.status() != status_;
    status_ = judge_.status();
    troubles_ = judge_.troubles();
    if (changed) {
      lock.unlock();
      on_change_(judge_.status());
      lock.lock();
    }
    if (wake_.wait_for(lock, options_.look_every, [this] { return stopped_; })) return;
  }
}

void Readiness::Look() {
  GatewayView view = gateway_->view();
  const Instant now = std::chrono::steady_clock::now();
  std::vector<std::pair<uint64_t, absl::Status>> ended;
  {
    const std::lock_guard lock(ends_->mutex);
    ended.swap(ends_->ended);
  }
  ReadinessJudge::Seen seen{.now = now,
                            .complete = view.route.ok() ? facts_->Facts().status() : view.route,
                            .replicas = view.trail.entries(),
                            .worked_at = view.worked_at};
  std::erase_if(seen.replicas, [&](const auto& e) { return view.refused.contains(e.replica); });
  for (const auto& [probe, status] : ended) {
    judge_.Ended(probe, status, now);
    tickets_.erase(probe);
  }
  for (const ReadinessJudge::Probe& probe : judge_.Look(seen)) Send(probe);
}

// One token for a prompt of one. Nothing hurries it: where it stands still the token loop ends it.
void Readiness::Send(const ReadinessJudge::Probe& probe) {
  LoopRequest request;
  request.prompt = {0};
  request.params.max_tokens = 1;
  request.params.ignore_eos = true;
  request.through = probe.through;
  tickets_[probe.number] =
      gateway_->Submit(std::move(request), std::make_shared<Listener>(ends_, probe.number));
}

}  // namespace catena
