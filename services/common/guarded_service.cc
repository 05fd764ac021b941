#include "services/common/guarded_service.h"

#include <vector>

namespace catena {

std::shared_ptr<void> GuardedService::Enter(const std::shared_ptr<EndableCall>& call) {
  std::shared_ptr<EndableCall> oldest;
  uint64_t number;
  {
    std::lock_guard lock(calls_->mutex);
    if (calls_->calls.size() >= most_calls_) {
      oldest = calls_->calls.begin()->second.lock();
      calls_->calls.erase(calls_->calls.begin());
    }
    number = calls_->next++;
    calls_->calls.emplace(number, call);
  }
  if (oldest != nullptr) {
    oldest->End(absl::ResourceExhaustedError(
        fmt::format("more than {} calls are held open here; ask again later", most_calls_)));
  }
  return std::shared_ptr<void>(nullptr, [calls = calls_, number](void*) {
    std::lock_guard lock(calls->mutex);
    calls->calls.erase(number);
  });
}

void GuardedService::EndAll(const absl::Status& why) {
  std::vector<std::shared_ptr<EndableCall>> ending;
  {
    std::lock_guard lock(calls_->mutex);
    for (const auto& [number, call] : calls_->calls) {
      if (auto running = call.lock()) ending.push_back(std::move(running));
    }
  }
  for (const auto& call : ending) call->End(why);
}

}  // namespace catena
