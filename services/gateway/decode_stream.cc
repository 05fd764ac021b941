#include "services/gateway/decode_stream.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "services/common/request_limits.h"
#include "services/common/status.h"

namespace catena {
namespace {

std::atomic<size_t> next_turn{0};  // spreads streams over the replicas

// What no other tokenizer would answer differently.
bool IsFinal(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
         absl::IsUnimplemented(status);
}

}  // namespace

// One gRPC stream. Held by the DecodeStream until it closes it, and by itself until gRPC is done.
class DecodeAttempt final : public grpc::ClientBidiReactor<v1::DecodeRequest, v1::DecodeResponse> {
 public:
  DecodeAttempt(uint64_t number, std::shared_ptr<DecodeStream> owner,
                std::shared_ptr<grpc::Channel> channel)
      : number_(number),
        owner_(owner),
        strand_(owner->strand_),
        channel_(std::move(channel)),
        stub_(v1::TokenizerService::NewStub(channel_)) {}

  static std::shared_ptr<DecodeAttempt> Start(uint64_t number, std::shared_ptr<DecodeStream> owner,
                                              std::shared_ptr<grpc::Channel> channel) {
    auto attempt = std::make_shared<DecodeAttempt>(number, std::move(owner), std::move(channel));
    attempt->self_ = attempt;
    attempt->stub_->async()->Decode(&attempt->context_, attempt.get());
    attempt->AddHold();  // writes come from outside the reactions
    attempt->StartCall();
    return attempt;
  }

  // REQUIRES: the message before was answered.
  void Send(v1::DecodeRequest request) {
    std::lock_guard lock(mutex_);
    if (!held_) return;  // OnDone tells
    request_ = std::move(request);
    under_way_ = 2;
    StartWrite(&request_);
    StartRead(&response_);
  }

  void Close() {
    context_.TryCancel();
    Release();
  }

  void OnReadDone(bool ok) override { OnHalfDone(ok); }
  void OnWriteDone(bool ok) override { OnHalfDone(ok); }

  void OnDone(const grpc::Status& status) override {
    Tell([number = number_, why = FromGrpcStatus(status)](DecodeStream& stream) {
      stream.OnBroken(number, why);
    });
    // Not here: this may be the last that holds the channel, which joins gRPC's threads.
    strand_->Post([self = std::move(self_)] {});
  }

 private:
  // The answer may come before gRPC says that the question went; the next one must wait for both.
  void OnHalfDone(bool ok) {
    if (!ok) return Release();
    if (--under_way_ > 0) return;
    Tell([number = number_, response = response_](DecodeStream& stream) {
      stream.OnResponse(number, response);
    });
  }

  // The last thing that is done with it: OnDone may follow inside.
  void Release() {
    bool held;
    {
      std::lock_guard lock(mutex_);
      held = std::exchange(held_, false);
    }
    if (held) RemoveHold();
  }

  template <typename F>
  void Tell(F what) {
    strand_->Post([owner = owner_, what = std::move(what)] {
      if (const auto stream = owner.lock()) what(*stream);
    });
  }

  const uint64_t number_;
  const std::weak_ptr<DecodeStream> owner_;
  const std::shared_ptr<Strand> strand_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::TokenizerService::Stub> stub_;
  grpc::ClientContext context_;
  v1::DecodeRequest request_;
  v1::DecodeResponse response_;
  std::atomic<int> under_way_ = 0;  // of the write and the read of one message
  std::mutex mutex_;
  bool held_ = true;
  std::shared_ptr<DecodeAttempt> self_;
};

std::shared_ptr<DecodeStream> DecodeStream::Open(v1::DecodeRules rules,
                                                 std::shared_ptr<Strand> strand,
                                                 TokenizerReplicas* replicas,
                                                 OnProgress on_progress,
                                                 const DecodeStreamOptions& options) {
  std::shared_ptr<DecodeStream> stream(new DecodeStream);
  stream->rules_ = std::move(rules);
  stream->strand_ = std::move(strand);
  stream->replicas_ = replicas;
  stream->on_progress_ = std::move(on_progress);
  stream->options_ = options;
  stream->pause_ = options.first_pause;
  stream->turn_ = next_turn++;
  return stream;
}

void DecodeStream::Push(absl::Span<const int32_t> ids) {
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  Pump();
}

void DecodeStream::End() {
  ending_ = true;
  Pump();
}

void DecodeStream::Cancel() {
  on_progress_ = nullptr;
  Close();
}

void DecodeStream::Close() {
  ++attempt_number_;
  if (attempt_) std::exchange(attempt_, nullptr)->Close();
  in_flight_ = false;
}

void DecodeStream::Pump() {
  if (!on_progress_ || in_flight_ || pausing_) return;
  if (sent_ == ids_.size() && (!ending_ || end_sent_)) return;
  if (attempt_ && MustLeave()) Close();
  if (!attempt_) Connect();
  if (attempt_) SendNext();
}

bool DecodeStream::MustLeave() {
  const Clock::time_point now = Clock::now();
  if (now - looked_at_ < options_.look_every) return false;
  looked_at_ = now;
  const std::vector<TokenizerReplica> serving = replicas_->Serving();
  return !serving.empty() &&
         std::none_of(serving.begin(), serving.end(),
                      [this](const TokenizerReplica& r) { return r.address == address_; });
}

void DecodeStream::Connect() {
  const std::vector<TokenizerReplica> serving = replicas_->Serving();
  if (serving.empty()) return TryAgain("no tokenizer serves");
  const TokenizerReplica& replica = PickReplica(serving, turn_++, address_);
  address_ = replica.address;
  sent_ = answered_ = answered_bytes_ = 0;
  end_sent_ = false;
  attempt_ = DecodeAttempt::Start(++attempt_number_, shared_from_this(), replica.channel);
}

void DecodeStream::SendNext() {
  v1::DecodeRequest request;
  if (sent_ == 0) *request.mutable_rules() = rules_;
  const size_t n = std::min<size_t>(ids_.size() - sent_, limits::kMaxDecodeIds);
  const auto begin = ids_.begin() + static_cast<ptrdiff_t>(sent_);
  request.mutable_ids()->Assign(begin, begin + static_cast<ptrdiff_t>(n));
  sent_ += n;
  end_sent_ = ending_ && sent_ == ids_.size();
  request.set_end(end_sent_);
  in_flight_ = true;
  sent_at_ = Clock::now();
  attempt_->Send(std::move(request));
  Watch();
}

// One timer a stream, which looks whether the message in flight is too old.
void DecodeStream::Watch() {
  if (std::exchange(watching_, true)) return;
  const auto age = std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - sent_at_);
  const auto left = std::max(std::chrono::milliseconds(1), options_.answer_timeout - age);
  strand_->PostAfter(left, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->watching_ = false;
    if (!self->in_flight_ || !self->on_progress_) return;
    if (Clock::now() - self->sent_at_ < self->options_.answer_timeout) return self->Watch();
    self->Close();
    self->TryAgain(fmt::format("the tokenizer at {} does not answer", self->address_));
  });
}

void DecodeStream::OnResponse(uint64_t attempt, const v1::DecodeResponse& response) {
  if (attempt != attempt_number_ || !on_progress_) return;
  in_flight_ = false;
  const auto used = static_cast<size_t>(std::max(0, response.ids_used()));
  if (used > sent_ - answered_ || (used < sent_ - answered_ && !response.stopped())) {
    return Fail(absl::InternalError(
        fmt::format("the tokenizer at {} used {} of {} ids", address_, used, sent_ - answered_)));
  }
  answered_ += used;
  const size_t begin = answered_bytes_;
  answered_bytes_ += response.text().size();
  const bool caught_up = answered_ >= used_;
  Progress progress;
  progress.ended = response.stopped() || end_sent_;
  progress.stopped = response.stopped();
  if (answered_ > used_) progress.ids_used = static_cast<int64_t>(answered_ - used_);
  if (answered_bytes_ > shown_bytes_) {
    progress.text = response.text().substr(std::max(begin, shown_bytes_) - begin);
  }
  used_ = std::max(used_, answered_);
  shown_bytes_ = std::max(shown_bytes_, answered_bytes_);
  // While a replay has not caught up there is nothing new, and the next break is still the same
  // failure: ids that end every tokenizer are not sent for ever.
  if (caught_up && (progress.ids_used > 0 || progress.ended || !progress.text.empty())) {
    failing_ = false;
    pause_ = options_.first_pause;
    const OnProgress tell = on_progress_;
    if (progress.ended) Cancel();
    tell(std::move(progress));
  }
  Pump();
}

void DecodeStream::OnBroken(uint64_t attempt, const absl::Status& why) {
  if (attempt != attempt_number_ || !on_progress_) return;
  Close();
  if (IsFinal(why)) return Fail(Annotate(why, "the tokenizer at " + address_));
  TryAgain(fmt::format("the tokenizer at {}: {}", address_, Message(why)));
}

void DecodeStream::TryAgain(const std::string& why) {
  const Clock::time_point now = Clock::now();
  if (!std::exchange(failing_, true)) failing_since_ = now;
  if (now - failing_since_ > options_.give_up) {
    return Fail(WithReason(absl::UnavailableError(fmt::format(
                               "no tokenizer turned ids into text ({}); is one running?", why)),
                           ErrorReason::kNoTokenizer));
  }
  sent_ = 0;  // all again
  end_sent_ = false;
  pausing_ = true;
  strand_->PostAfter(pause_, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->pausing_ = false;
    self->Pump();
  });
  pause_ = std::min(2 * pause_, options_.last_pause);
}

void DecodeStream::Fail(absl::Status status) {
  const OnProgress tell = std::move(on_progress_);
  Cancel();
  if (tell) tell(std::move(status));
}

}  // namespace catena
