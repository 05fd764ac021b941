#include "services/common/health_service.h"

#include <utility>

#include "services/common/request_limits.h"

namespace catena {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

HealthService::Status HealthService::Book::Of(const std::string& name) const {
  const auto found = statuses.find(name);
  return found == statuses.end() ? HealthCheckResponse::SERVICE_UNKNOWN : found->second;
}

class HealthService::CheckCall final
    : public GuardedUnary<HealthCheckRequest, HealthCheckResponse> {
 public:
  explicit CheckCall(std::shared_ptr<Book> book)
      : GuardedUnary(limits::kMaxQuestionBytes), book_(std::move(book)) {}

 private:
  void Begin(HealthCheckRequest request) override {
    HealthCheckResponse response;
    {
      std::lock_guard lock(book_->mutex);
      response.set_status(book_->Of(request.service()));
    }
    if (response.status() == HealthCheckResponse::SERVICE_UNKNOWN) {
      return Fail(absl::NotFoundError(
          fmt::format("nothing is called {} here: ask for \"\", readiness, liveness or the full "
                      "name of a service",
                      Quoted(request.service()))));
    }
    Reply(std::move(response));
  }

  const std::shared_ptr<Book> book_;
};

// One message, and then answers for as long as the client likes.
class HealthService::WatchCall final : public GuardedCall<HealthCheckRequest, HealthCheckResponse> {
 public:
  explicit WatchCall(std::shared_ptr<Book> book)
      : GuardedCall(limits::kMaxQuestionBytes, Messages::kOne), book_(std::move(book)) {}

  void Say(Status status) {
    HealthCheckResponse response;
    response.set_status(status);
    Send(std::move(response));
  }

 private:
  void Take(HealthCheckRequest request) override {
    name_ = std::move(*request.mutable_service());
    std::lock_guard lock(book_->mutex);
    book_->watches[name_].insert(this);
    Say(book_->Of(name_));
  }
  void OnGone() override {
    std::lock_guard lock(book_->mutex);
    const auto found = book_->watches.find(name_);
    if (found == book_->watches.end()) return;
    found->second.erase(this);
    if (found->second.empty()) book_->watches.erase(found);
  }

  const std::shared_ptr<Book> book_;
  std::string name_;
};

HealthService::HealthService(MessageGuard* guard) : GuardedService(guard, limits::kMaxQuestions) {
  AddCall(kName, "Check", [book = book_](grpc::CallbackServerContext*) {
    return std::make_shared<CheckCall>(book);
  });
  AddCall(kName, "Watch", [book = book_](grpc::CallbackServerContext*) {
    return std::make_shared<WatchCall>(book);
  });
}

void HealthService::Set(const std::string& name, bool serving) {
  const Status status = serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
  std::lock_guard lock(book_->mutex);
  Status& known = book_->statuses.try_emplace(name, HealthCheckResponse::UNKNOWN).first->second;
  if (std::exchange(known, status) == status) return;
  const auto watched = book_->watches.find(name);
  if (watched == book_->watches.end()) return;
  for (WatchCall* const watch : watched->second) watch->Say(status);
}

}  // namespace catena
