#include "services/load/client.h"

#include <utility>

namespace catena::load {
namespace {

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

v1::GenerateRequest MakeRequest(const RequestSpec& spec) {
  v1::GenerateRequest request;
  request.mutable_tokens()->mutable_ids()->Add(spec.prompt.begin(), spec.prompt.end());
  v1::SamplingOptions* sampling = request.mutable_sampling();
  sampling->set_temperature(0);
  sampling->set_max_tokens(spec.max_tokens);
  sampling->set_ignore_eos(true);  // the lengths are the mix's
  return request;
}

}  // namespace

// One stream. Its callbacks come one at a time, on any of gRPC's threads.
class LoadClient::Call : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  Call(LoadClient* owner, const RequestSpec& spec, int kind)
      : owner_(owner), cancel_after_(spec.cancel_after), request_(MakeRequest(spec)) {
    result_.kind = kind;
    result_.prompt_tokens = static_cast<int64_t>(spec.prompt.size());
    result_.had_deadline = spec.deadline.has_value();
    if (spec.deadline) {
      context_.set_deadline(std::chrono::system_clock::now() +
                            std::chrono::duration_cast<std::chrono::microseconds>(*spec.deadline));
    }
  }

  void Begin(v1::GenerationService::Stub* stub) {
    if (!owner_->authorization_.empty()) {
      context_.AddMetadata("authorization", owner_->authorization_);
    }
    start_ = last_ = Clock::now();
    stub->async()->Generate(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
    if (cancel_after_ == 0) Cancel();
  }

  void Cancel() {
    cancelled_ = true;
    context_.TryCancel();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;  // OnDone follows
    TakeTokens(response_.token_ids_size());
    if (response_.has_finish()) {
      finished_ = true;
      result_.queue_s = static_cast<double>(response_.finish().queue_ns()) * 1e-9;
    }
    if (cancel_after_ && result_.output_tokens >= *cancel_after_) Cancel();
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    result_.end_to_end_s = Seconds(Clock::now() - start_);
    result_.status = status;
    result_.cancelled = cancelled_;
    if (status.ok() && !finished_) {
      result_.status = grpc::Status(grpc::StatusCode::INTERNAL, "the stream had no finish");
    }
    owner_->OnFinished(this);
  }

  CallResult TakeResult() { return std::move(result_); }

 private:
  void TakeTokens(int count) {
    if (count == 0) return;
    const Clock::time_point now = Clock::now();
    int after_the_first = count;
    if (!result_.first_token_s) {
      result_.first_token_s = Seconds(now - start_);
      --after_the_first;
    }
    for (int i = 0; i < after_the_first; ++i) {
      result_.gaps.push_back({now, Seconds(now - last_) / count});
    }
    last_ = now;
    result_.output_tokens += count;
    owner_->tokens_ += count;
  }

  LoadClient* const owner_;
  const std::optional<int32_t> cancel_after_;
  grpc::ClientContext context_;
  const v1::GenerateRequest request_;
  v1::GenerateResponse response_;
  std::atomic<bool> cancelled_ = false;
  bool finished_ = false;
  Clock::time_point start_, last_;
  CallResult result_;
};

LoadClient::LoadClient(const std::shared_ptr<grpc::Channel>& channel, std::string authorization)
    : stub_(v1::GenerationService::NewStub(channel)), authorization_(std::move(authorization)) {}

LoadClient::~LoadClient() {
  CancelAll();
  while (running() > 0) Wait(Clock::time_point::max());
}

void LoadClient::Start(RequestSpec spec, int kind) {
  auto call = std::make_unique<Call>(this, spec, kind);
  Call* const started = call.get();
  calls_.emplace(started, std::move(call));
  ++running_;
  started->Begin(stub_.get());
}

std::optional<CallResult> LoadClient::Wait(Clock::time_point until) {
  Call* call = nullptr;
  {
    std::unique_lock lock(mutex_);
    auto any = [this] { return !finished_.empty(); };
    if (until == Clock::time_point::max()) {
      changed_.wait(lock, any);
    } else if (!changed_.wait_until(lock, until, any)) {
      return std::nullopt;
    }
    call = finished_.front();
    finished_.pop_front();
  }
  --running_;
  CallResult result = call->TakeResult();
  calls_.erase(call);
  return result;
}

void LoadClient::CancelAll() {
  for (const auto& [key, call] : calls_) call->Cancel();
}

void LoadClient::OnFinished(Call* call) {
  const std::lock_guard lock(mutex_);
  finished_.push_back(call);
  changed_.notify_all();  // under the lock: the client may go once it is released
}

}  // namespace catena::load
