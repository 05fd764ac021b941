#include "services/gateway/tokenizer_client.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <utility>

#include "services/common/request_limits.h"
#include "services/common/status.h"

namespace catena {
namespace {

// A call to one tokenizer after the other until one answers. Everything on the strand but Start and
// the reaction of gRPC.
template <typename Request, typename Response>
class RetriedCall : public std::enable_shared_from_this<RetriedCall<Request, Response>> {
 public:
  using Async = v1::TokenizerService::StubInterface::async_interface;
  using Method = void (Async::*)(grpc::ClientContext*, const Request*, Response*,
                                 std::function<void(grpc::Status)>);
  using Done = std::function<void(absl::StatusOr<Response>)>;

  RetriedCall(Method method, Request request, TokenizerReplicas* replicas, size_t turn,
              const TokenizerClientOptions& options, std::chrono::system_clock::time_point deadline,
              std::shared_ptr<Strand> strand, Done done)
      : method_(method),
        request_(std::move(request)),
        replicas_(replicas),
        turn_(turn),
        options_(options),
        deadline_(deadline),
        strand_(std::move(strand)),
        done_(std::move(done)) {}

  void Start() {
    strand_->Post([self = this->shared_from_this()] { self->Attempt(); });
  }

  void Cancel() {
    strand_->Post([self = this->shared_from_this()] {
      self->Finish(absl::CancelledError("the call was cancelled"));
      if (self->context_) self->context_->TryCancel();
    });
  }

 private:
  void Attempt() {
    if (!done_) return;
    const std::vector<TokenizerReplica> serving = replicas_->Serving();
    if (serving.empty()) return AwaitReplica();
    alone_since_.reset();
    const TokenizerReplica& replica = PickReplica(serving, turn_++, address_);
    address_ = replica.address;
    channel_ = replica.channel;
    stub_ = v1::TokenizerService::NewStub(channel_);
    context_ = std::make_unique<grpc::ClientContext>();
    const auto now = std::chrono::system_clock::now();
    context_->set_deadline(std::min(deadline_, now + options_.call_timeout));
    Watch(attempts_);
    (stub_->async()->*method_)(
        context_.get(), &request_, &response_,
        [self = this->shared_from_this()](grpc::Status status) mutable {
          Strand* strand = self->strand_.get();
          strand->Post([self = std::move(self), status] { self->OnStatus(status); });
        });
  }

  // Ends an attempt at a replica that is known to have failed meanwhile: one that hangs answers
  // nothing, not even that.
  void Watch(int attempt) {
    strand_->PostAfter(options_.look_every, [weak = this->weak_from_this(), attempt] {
      const auto self = weak.lock();
      if (!self || !self->done_ || self->attempts_ != attempt) return;
      for (const TokenizerReplica& replica : self->replicas_->Serving()) {
        if (replica.address == self->address_) return self->Watch(attempt);
      }
      self->context_->TryCancel();
    });
  }

  void OnStatus(const grpc::Status& status) {
    if (!done_) return;
    if (status.ok()) return Finish(std::move(response_));
    const absl::Status why = FromGrpcStatus(status);
    // An answer of the service is one, but where it says that another may do better.
    const bool final =
        IsFromService(status) && !absl::IsUnavailable(why) && !absl::IsResourceExhausted(why);
    if (final || absl::IsUnimplemented(why)) return Finish(why);
    TryAgain(IsFromService(status) ? why : Annotate(why, "the tokenizer at " + address_));
  }

  void TryAgain(const absl::Status& why) {
    if (++attempts_ < options_.attempts) return Pause();
    if (absl::IsResourceExhausted(why)) return Finish(why);
    Finish(WithReason(absl::UnavailableError(why.message()), ErrorReason::kNoTokenizer));
  }

  void AwaitReplica() {
    const auto now = std::chrono::steady_clock::now();
    if (!alone_since_) alone_since_ = now;
    if (now - *alone_since_ < options_.wait) return Pause();
    Finish(WithReason(absl::UnavailableError("no tokenizer serves; is one running?"),
                      ErrorReason::kNoTokenizer));
  }

  // Then another attempt.
  void Pause() {
    if (std::chrono::system_clock::now() >= deadline_) {
      return Finish(WithReason(absl::DeadlineExceededError("the request's deadline has passed"),
                               ErrorReason::kDeadline));
    }
    strand_->PostAfter(pause_, [self = this->shared_from_this()] { self->Attempt(); });
    pause_ = std::min(2 * pause_, options_.last_pause);
  }

  void Finish(absl::StatusOr<Response> result) {
    if (const Done done = std::exchange(done_, nullptr)) done(std::move(result));
  }

  const Method method_;
  const Request request_;
  TokenizerReplicas* const replicas_;
  size_t turn_;
  const TokenizerClientOptions options_;
  const std::chrono::system_clock::time_point deadline_;
  const std::shared_ptr<Strand> strand_;
  Done done_;                                                         // empty: finished
  int attempts_ = 0;                                                  // that failed
  std::optional<std::chrono::steady_clock::time_point> alone_since_;  // without a replica
  std::chrono::milliseconds pause_ = options_.first_pause;
  std::string address_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::TokenizerService::Stub> stub_;
  std::unique_ptr<grpc::ClientContext> context_;
  Response response_;
};

using EncodeCall = RetriedCall<v1::EncodeRequest, v1::EncodeResponse>;
using PiecesCall = RetriedCall<v1::GetPiecesRequest, v1::GetPiecesResponse>;

}  // namespace

TokenizerClient::Canceller TokenizerClient::Encode(v1::EncodeRequest request,
                                                   Clock::time_point deadline,
                                                   std::shared_ptr<Strand> strand, OnEncoded done) {
  auto call = std::make_shared<EncodeCall>(EncodeCall::Method(&EncodeCall::Async::Encode),
                                           std::move(request), replicas_, turn_++, options_,
                                           deadline, std::move(strand), std::move(done));
  call->Start();
  return [call] { call->Cancel(); };
}

std::vector<int32_t> TokenizerClient::MissingPieces(absl::Span<const int32_t> ids) const {
  std::unordered_set<int32_t> missing;
  std::shared_lock lock(mutex_);
  for (const int32_t id : ids) {
    if (pieces_.find(id) == pieces_.end()) missing.insert(id);
  }
  return {missing.begin(), missing.end()};
}

TokenizerClient::Canceller TokenizerClient::FetchPieces(std::vector<int32_t> ids,
                                                        Clock::time_point deadline,
                                                        std::shared_ptr<Strand> strand,
                                                        OnPieces done) {
  v1::GetPiecesRequest request;
  request.mutable_ids()->Assign(ids.begin(), ids.end());
  auto learn = [this, ids = std::move(ids),
                done = std::move(done)](absl::StatusOr<v1::GetPiecesResponse> response) {
    if (!response.ok()) return done(response.status());
    if (response->pieces_size() != static_cast<int>(ids.size())) {
      return done(absl::InternalError("a tokenizer gave another number of pieces than asked for"));
    }
    {
      std::unique_lock lock(mutex_);
      for (size_t i = 0; i < ids.size(); ++i) {
        pieces_[ids[i]] = std::move(*response->mutable_pieces(static_cast<int>(i)));
      }
    }
    done(absl::OkStatus());
  };
  auto call = std::make_shared<PiecesCall>(PiecesCall::Method(&PiecesCall::Async::GetPieces),
                                           std::move(request), replicas_, turn_++, options_,
                                           deadline, std::move(strand), std::move(learn));
  call->Start();
  return [call] { call->Cancel(); };
}

std::string TokenizerClient::Piece(int32_t id) const {
  std::shared_lock lock(mutex_);
  const auto found = pieces_.find(id);
  return found == pieces_.end() ? "" : found->second;
}

}  // namespace catena
