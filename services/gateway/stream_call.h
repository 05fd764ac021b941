// A request that is answered by a stream, as both Generate and Score are: one write in flight, what
// piles up meanwhile goes next, a terminal status at the end whatever happens.
//
// Thread rules: what gRPC calls only posts to the strand; everything else runs there.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <grpcpp/support/server_callback.h>

#include "services/common/status.h"
#include "services/common/worker_pool.h"

namespace catena {

template <typename Response>
class StreamCall : public grpc::ServerWriteReactor<Response>,
                   public std::enable_shared_from_this<StreamCall<Response>> {
 public:
  // Keeps the call alive until gRPC is done with it. What gRPC is to be given.
  static grpc::ServerWriteReactor<Response>* Run(const std::shared_ptr<StreamCall>& call) {
    call->self_ = call;
    call->strand_->Post([call] { call->Begin(); });
    return call.get();
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

 protected:
  explicit StreamCall(std::shared_ptr<Strand> strand) : strand_(std::move(strand)) {}

  virtual void Begin() = 0;
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

  // To be called after whatever may have given something to say.
  void Pump() {
    if (finished_ || writing_) return;
    response_.Clear();
    if (Compose(&response_)) {
      writing_ = true;
      this->StartWrite(&response_);
    } else if (failure_) {
      Finish(*failure_);
    } else if (Complete()) {
      Finish(absl::OkStatus());
    }
  }

  // Ends the stream with an error, after what was ready to be sent.
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
    Finish(*failure_);
  }

 private:
  void Finish(const absl::Status& status) {
    if (std::exchange(finished_, true)) return;
    grpc::ServerWriteReactor<Response>::Finish(ToGrpcStatus(status));
  }

  const std::shared_ptr<Strand> strand_;
  std::shared_ptr<StreamCall> self_;
  Response response_;
  std::optional<absl::Status> failure_;
  bool writing_ = false, finished_ = false;
};

// A stream that ends before it began.
template <typename Response>
class RefusedStream final : public grpc::ServerWriteReactor<Response> {
 public:
  explicit RefusedStream(const absl::Status& status) { this->Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace catena
