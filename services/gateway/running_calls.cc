#include "services/gateway/running_calls.h"

#include <utility>
#include <vector>

#include "runtime/chain/error_facts.h"

namespace catena {

absl::StatusOr<std::unique_ptr<RunningCalls::Place>> RunningCalls::Enter() {
  std::lock_guard lock(mutex_);
  if (draining_) {
    return WithReason(
        absl::UnavailableError("the gateway is stopping; ask another one, or again in a moment"),
        ErrorReason::kDraining);
  }
  if (calls_.size() >= most_) {
    return WithReason(
        absl::ResourceExhaustedError(
            fmt::format("{} {} are being answered already; ask again later", calls_.size(), what_)),
        ErrorReason::kTooManyCalls);
  }
  const uint64_t number = next_++;
  calls_.emplace(number, std::weak_ptr<Call>());
  return std::make_unique<Place>(this, number);
}

void RunningCalls::Bind(uint64_t number, const std::weak_ptr<Call>& call) {
  std::optional<absl::Status> ended;
  {
    std::lock_guard lock(mutex_);
    calls_[number] = call;
    ended = ended_;
  }
  if (!ended) return;
  if (const auto running = call.lock()) running->End(*ended);
}

void RunningCalls::Leave(uint64_t number) {
  std::lock_guard lock(mutex_);
  calls_.erase(number);
  left_.notify_all();
}

size_t RunningCalls::Drain(std::chrono::milliseconds grace, std::chrono::milliseconds patience,
                           const std::function<void(size_t)>& tell) {
  const auto grace_ends = std::chrono::steady_clock::now() + grace;
  std::vector<std::shared_ptr<Call>> late;
  std::unique_lock lock(mutex_);
  draining_ = true;
  for (bool changed = true; changed;) {
    const size_t running = calls_.size();
    lock.unlock();
    tell(running);
    lock.lock();
    if (running == 0) return 0;
    changed = left_.wait_until(lock, grace_ends, [&] { return calls_.size() != running; });
  }
  const size_t ended = calls_.size();
  ended_ = WithReason(
      absl::UnavailableError("the gateway has stopped before the answer was complete; ask another "
                             "one, or again in a moment"),
      ErrorReason::kDraining);
  for (const auto& [number, call] : calls_) {
    if (auto running = call.lock()) late.push_back(std::move(running));
  }
  const absl::Status why = *ended_;
  lock.unlock();
  for (const auto& call : late) call->End(why);
  late.clear();  // the last reference would leave its place, which takes the lock
  lock.lock();
  left_.wait_for(lock, patience, [this] { return calls_.empty(); });
  return ended;
}

}  // namespace catena
