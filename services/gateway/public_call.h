// A call to the gateway's public port, whatever it asks: its request is read once it has been let
// in, its answers go out one write at a time, what piles up meanwhile goes next, and a terminal
// status comes at the end whatever happens.
//
// Thread rules: what gRPC calls only posts to the strand; everything else runs there.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <grpcpp/impl/codegen/proto_utils.h>

#include "services/common/byte_budget.h"
#include "services/common/header_first_service.h"
#include "services/common/message_guard.h"
#include "services/common/request_limits.h"
#include "services/common/status.h"
#include "services/common/worker_pool.h"
#include "services/gateway/request_record.h"
#include "services/gateway/running_calls.h"

namespace catena {

// What all calls of a port share; outlives them.
struct CallHouse {
  explicit CallHouse(const MessageGuardOptions& options = {}) : guard(options) {}

  WorkerPool* pool = nullptr;
  ByteBudget requests{limits::kMaxRequestBytes};  // that are not worked off yet
  MessageGuard guard;
};

template <typename Request, typename Response>
class PublicCall : public HeaderFirstReactor<Response>,
                   public RunningCalls::Call,
                   public std::enable_shared_from_this<PublicCall<Request, Response>> {
 public:
  // Keeps the call alive until gRPC is done with it. What gRPC is to be given.
  static HeaderFirstReactor<Response>* Run(const std::shared_ptr<PublicCall>& call,
                                           const std::string& peer,
                                           std::unique_ptr<RunningCalls::Place> place,
                                           std::unique_ptr<RequestRecord> record) {
    call->record_ = std::move(record);
    call->self_ = call;
    call->place_ = std::move(place);
    call->place_->BelongsTo(std::weak_ptr<RunningCalls::Call>(call));
    call->reading_.emplace(&call->house_->guard, peer, limits::kMaxPublicMessageBytes,
                           [weak = call->weak_from_this()](const absl::Status& why) {
                             if (const auto self = weak.lock()) self->End(why);
                           });
    call->StartRead(&call->message_);
    return call.get();
  }

  void OnReadDone(bool ok) final {
    strand_->Post([self = this->shared_from_this(), ok] { self->TakeMessage(ok); });
  }
  // The client has cancelled, has gone, or its deadline has passed.
  void OnCancel() final {
    strand_->Post([self = this->shared_from_this()] {
      self->FailNow(absl::CancelledError("the client has gone or its deadline has passed"));
    });
  }
  void OnWriteDone(bool ok) final {
    strand_->Post([self = this->shared_from_this(), ok] {
      self->writing_ = false;
      if (!ok) return self->FailNow(absl::CancelledError("the client has gone"));
      self->Pump();
    });
  }
  void OnDone() final {
    strand_->Post([self = std::move(self_)] {});
  }
  void End(const absl::Status& why) final {
    strand_->Post([self = this->shared_from_this(), why] { self->Fail(why); });
  }

 protected:
  explicit PublicCall(CallHouse* house)
      : house_(house), strand_(Strand::Make(house->pool)), request_bytes_(&house->requests) {}

  // An error ends the call.
  virtual absl::Status Begin(Request request) = 0;
  // Fills the next message; false where there is nothing to say now.
  virtual bool Compose(Response* response) = 0;
  // Whether all has been composed.
  virtual bool Complete() const = 0;
  // Ends all work for the request, which has failed.
  virtual void Abandon() = 0;

  const std::shared_ptr<Strand>& strand() const { return strand_; }
  template <typename T>
  std::shared_ptr<T> Self() {
    return std::static_pointer_cast<T>(this->shared_from_this());
  }
  bool over() const { return failure_.has_value() || finished_; }
  // What operators see of it; null where its service is none of the public API's.
  RequestRecord* record() const { return record_.get(); }

  // To be called once little of the request is still held.
  void ReleaseRequest() { request_bytes_.Clear(); }

  // To be called after whatever may have given something to say.
  void Pump() {
    if (finished_ || writing_) return;
    response_.Clear();
    if (Compose(&response_)) {
      writing_ = true;
      this->StartWrite(&response_);
    } else if (failure_) {
      FinishOnce(*failure_);
    } else if (Complete()) {
      FinishOnce(absl::OkStatus());
    }
  }

  // Ends the call with an error, after what was ready to be sent.
  void Fail(absl::Status status) {
    if (over()) return;
    failure_ = std::move(status);
    Abandon();
    Pump();
  }

  // Without: the client does not read it.
  void FailNow(absl::Status status) {
    if (finished_) return;
    if (!failure_) {
      failure_ = std::move(status);
      Abandon();
    }
    FinishOnce(*failure_);
  }

 private:
  void TakeMessage(bool ok) {
    reading_->Done(message_.Length());
    if (over()) return;
    if (!ok)
      return FailNow(absl::InvalidArgumentError("the call has no request; send one message"));
    request_bytes_.Add(message_.Length());
    if (house_->requests.exceeded()) {
      return FailNow(
          WithReason(absl::ResourceExhaustedError(fmt::format(
                         "more than {} bytes of requests wait to be worked off; ask again later",
                         house_->requests.most())),
                     ErrorReason::kTooManyCalls));
    }
    Request request;
    const bool parsed = grpc::SerializationTraits<Request>::Deserialize(&message_, &request).ok();
    message_.Clear();
    if (!parsed) {
      return FailNow(absl::InvalidArgumentError(fmt::format(
          "the request cannot be read: it is no {}, or a string in it is not valid UTF-8",
          Request::descriptor()->full_name())));
    }
    if (absl::Status begun = Begin(std::move(request)); !begun.ok()) Fail(std::move(begun));
  }

  void FinishOnce(const absl::Status& status) {
    if (std::exchange(finished_, true)) return;
    ReleaseRequest();
    reading_->Done(0);
    if (record_ != nullptr) record_->Ended(status);
    HeaderFirstReactor<Response>::Finish(ToGrpcStatus(status));
  }

  CallHouse* const house_;
  const std::shared_ptr<Strand> strand_;
  std::shared_ptr<PublicCall> self_;
  std::unique_ptr<RunningCalls::Place> place_;
  std::unique_ptr<RequestRecord> record_;
  std::optional<MessageGuard::Reading> reading_;
  grpc::ByteBuffer message_;
  HeldBytes request_bytes_;
  Response response_;
  std::optional<absl::Status> failure_;
  bool writing_ = false, finished_ = false;
};

// A call with one answer: Begin, or what it began, ends with Reply.
template <typename Request, typename Response>
class UnaryCall : public PublicCall<Request, Response> {
 protected:
  using PublicCall<Request, Response>::PublicCall;

  void Reply(Response response) {
    reply_ = std::move(response);
    this->Pump();
  }
  void Abandon() override {}

 private:
  bool Compose(Response* response) final {
    if (!reply_) return false;
    *response = *std::exchange(reply_, std::nullopt);
    replied_ = true;
    return true;
  }
  bool Complete() const final { return replied_; }

  std::optional<Response> reply_;
  bool replied_ = false;
};

// A call that is not let in, and whose request is never read. A client that does not take the
// answer keeps it in memory: past limits::kMaxRefusedCalls of those, `place` is null, and the call
// is broken off.
template <typename Response>
class RefusedCall final : public HeaderFirstReactor<Response> {
 public:
  RefusedCall(grpc::CallbackServerContext* context, const absl::Status& status,
              std::unique_ptr<RunningCalls::Place> place)
      : place_(std::move(place)) {
    if (!place_) context->TryCancel();
    this->Finish(ToGrpcStatus(status));
  }
  void OnDone() override { delete this; }

 private:
  const std::unique_ptr<RunningCalls::Place> place_;
};

// What gRPC is to be given for a call: what `make` makes, where `access` and the number of calls
// that run allow it.
template <typename Response, typename Make>
HeaderFirstReactor<Response>* Admit(grpc::CallbackServerContext* context, absl::Status access,
                                    RunningCalls* calls, RunningCalls* refused, Make make,
                                    std::unique_ptr<RequestRecord> record = nullptr) {
  if (access.ok()) {
    auto place = calls->Enter();
    if (place.ok()) {
      const auto call = make();
      return call->Run(call, context->peer(), *std::move(place), std::move(record));
    }
    access = place.status();
  }
  if (record != nullptr) record->Refused(access);
  return new RefusedCall<Response>(context, access, refused->Enter().value_or(nullptr));
}

}  // namespace catena
