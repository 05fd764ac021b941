// A call whose messages are read under a guard (message_guard.h) and under a limit of its own, and
// whose answers go out one at a time: what GuardedService makes of a method. GuardedUnary is one of
// one request and one answer, PromptCall one of an answer at hand.
//
// Thread rules: Take, TakeEnd, OnAllSent and OnAnswered come one at a time, from gRPC's threads;
// OnGone last. Send, Reply and FinishOnce from any thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <grpcpp/impl/codegen/proto_utils.h>

#include "services/common/header_first_service.h"
#include "services/common/message_guard.h"
#include "services/common/status.h"

namespace catena {

// What a service knows of its calls: how one is ended.
class EndableCall {
 public:
  virtual ~EndableCall() = default;
  // With what waits to be sent before it. From any thread; does not block.
  virtual void End(const absl::Status& why) = 0;
};

template <typename Request, typename Response>
class GuardedCall : public HeaderFirstReactor<Response>,
                    public EndableCall,
                    public std::enable_shared_from_this<GuardedCall<Request, Response>> {
 public:
  using RequestType = Request;
  using ResponseType = Response;

  // Keeps the call alive until gRPC is done with it. What gRPC is to be given. `place`: is
  // destroyed with the call.
  static HeaderFirstReactor<Response>* Run(const std::shared_ptr<GuardedCall>& call,
                                           MessageGuard* guard, const std::string& peer,
                                           std::shared_ptr<void> place) {
    call->self_ = call;
    call->place_ = std::move(place);
    const auto end = [weak = call->weak_from_this()](const absl::Status& why) {
      if (const auto self = weak.lock()) self->FinishOnce(why);
    };
    call->reading_.emplace(guard, peer, call->most_, end);
    call->StartRead(&call->bytes_);
    return call.get();
  }

  void End(const absl::Status& why) final {
    std::lock_guard lock(mutex_);
    if (writing_) {
      end_ = why;
    } else {
      FinishLocked(why);
    }
  }

  void OnReadDone(bool ok) final {
    if (!ok) {
      reading_->Done(0);
      return TakeEnd();
    }
    const size_t bytes = bytes_.Length();
    messages_ == Messages::kOne ? reading_->Done(bytes) : reading_->Next(bytes, most_);
    if (bytes > most_) {
      return FinishOnce(absl::ResourceExhaustedError(fmt::format(
          "the message has {} bytes: at most {} are taken; send a shorter one", bytes, most_)));
    }
    Request request;
    const bool parsed = grpc::SerializationTraits<Request>::Deserialize(&bytes_, &request).ok();
    bytes_.Clear();
    if (!parsed) {
      return FinishOnce(absl::InvalidArgumentError(fmt::format(
          "the message cannot be read: it is no {}, or a string in it is not valid UTF-8",
          Request::descriptor()->full_name())));
    }
    Take(std::move(request));
  }
  void OnWriteDone(bool ok) final {
    bool all_sent;
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
      if (ok && next_) WriteLocked(*std::exchange(next_, std::nullopt));
      all_sent = ok && !writing_;
      if (all_sent && end_) FinishLocked(*end_);
    }
    if (!ok) return FinishOnce(absl::CancelledError("the client has gone"));
    if (all_sent) OnAllSent();
  }
  void OnCancel() final {
    FinishOnce(absl::CancelledError("the client has gone or its deadline has passed"));
  }
  void OnDone() final {
    OnGone();
    self_.reset();
  }

 protected:
  enum class Messages { kOne, kMany };
  // `most`: bytes of one message. `messages`: that are read.
  GuardedCall(size_t most, Messages messages) : most_(most), messages_(messages) {}

  virtual void Take(Request request) = 0;
  // The client says no more.
  virtual void TakeEnd() { FinishOnce(absl::OkStatus()); }
  virtual void OnAllSent() {}
  virtual void OnGone() {}
  // Once, with what it ends with; must not call back.
  virtual void OnEnded(const absl::Status&) {}

  template <typename T>
  std::shared_ptr<T> Self() {
    return std::static_pointer_cast<T>(this->shared_from_this());
  }
  // REQUIRES: of kMany; the message before was taken.
  void ReadNext() { this->StartRead(&bytes_); }

  // While another answer is on its way: after it, and of two that wait the later one.
  void Send(Response response) {
    std::lock_guard lock(mutex_);
    if (finished_ || end_) return;
    if (writing_) {
      next_ = std::move(response);
    } else {
      WriteLocked(std::move(response));
    }
  }
  // And ends the call. REQUIRES: nothing is being sent.
  void SendLast(Response response) {
    std::lock_guard lock(mutex_);
    if (std::exchange(finished_, true)) return;
    OnEnded(absl::OkStatus());
    response_ = std::move(response);
    this->StartWriteAndFinish(&response_, {}, grpc::Status::OK);
  }
  void FinishOnce(const absl::Status& status) {
    std::lock_guard lock(mutex_);
    FinishLocked(status);
  }
  bool is_over() {
    std::lock_guard lock(mutex_);
    return finished_;
  }

 private:
  void FinishLocked(const absl::Status& status) {
    if (std::exchange(finished_, true)) return;
    OnEnded(status);
    this->Finish(ToGrpcStatus(status));
  }
  void WriteLocked(Response response) {
    if (finished_) return;
    writing_ = true;
    response_ = std::move(response);
    this->StartWrite(&response_);
  }

  const size_t most_;
  const Messages messages_;
  std::shared_ptr<GuardedCall> self_;
  std::shared_ptr<void> place_;
  std::optional<MessageGuard::Reading> reading_;
  grpc::ByteBuffer bytes_;
  std::mutex mutex_;  // of all below; held while a write starts
  Response response_;
  std::optional<Response> next_;
  std::optional<absl::Status> end_;  // when all has been sent
  bool writing_ = false, finished_ = false;
};

// `Begin`, or what it began, ends with Reply or Fail.
template <typename Request, typename Response>
class GuardedUnary : public GuardedCall<Request, Response> {
 protected:
  explicit GuardedUnary(size_t most)
      : GuardedCall<Request, Response>(most, GuardedCall<Request, Response>::Messages::kOne) {}

  virtual void Begin(Request request) = 0;
  void Reply(Response response) { this->SendLast(std::move(response)); }
  void Fail(const absl::Status& status) { this->FinishOnce(status); }

 private:
  void Take(Request request) final { Begin(std::move(request)); }
  void TakeEnd() final {
    Fail(absl::InvalidArgumentError("the call has no request; send one message"));
  }
};

// A call whose answer is at hand.
template <typename Request, typename Response>
class PromptCall final : public GuardedUnary<Request, Response> {
 public:
  using Answer = std::function<absl::StatusOr<Response>(const Request&)>;
  PromptCall(size_t most, Answer answer)
      : GuardedUnary<Request, Response>(most), answer_(std::move(answer)) {}

 private:
  void Begin(Request request) override {
    absl::StatusOr<Response> response = answer_(request);
    if (!response.ok()) return this->Fail(response.status());
    this->Reply(*std::move(response));
  }

  const Answer answer_;
};

}  // namespace catena
