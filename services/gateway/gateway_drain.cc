#include "services/gateway/gateway_drain.h"

#include <algorithm>
#include <utility>

#include "services/common/drain_service.h"
#include "services/common/status.h"

namespace catena {
namespace {

// The question to a replica; it lives until gRPC is done with it.
class AskReplica final : public grpc::ClientReadReactor<v1::DrainResponse> {
 public:
  using OnAnswer = std::function<void(v1::DrainResponse)>;
  using OnEnd = std::function<void(const grpc::Status&)>;

  static std::shared_ptr<AskReplica> Start(std::shared_ptr<Strand> strand,
                                           const std::shared_ptr<grpc::Channel>& channel,
                                           OnAnswer on_answer, OnEnd on_end) {
    const std::shared_ptr<AskReplica> ask(
        new AskReplica(std::move(strand), channel, std::move(on_answer), std::move(on_end)));
    ask->self_ = ask;
    ask->stub_->async()->Drain(&ask->context_, &ask->request_, ask.get());
    ask->StartRead(&ask->response_);
    ask->StartCall();
    return ask;
  }
  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    on_answer_(response_);
    StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    on_end_(status);
    // Not here: this may be the last that holds the channel, which joins gRPC's threads.
    strand_->Post([self = std::move(self_)] {});
  }

 private:
  AskReplica(std::shared_ptr<Strand> strand, const std::shared_ptr<grpc::Channel>& channel,
             OnAnswer on_answer, OnEnd on_end)
      : strand_(std::move(strand)),
        stub_(v1::DrainService::NewStub(channel)),
        on_answer_(std::move(on_answer)),
        on_end_(std::move(on_end)) {}

  const std::shared_ptr<Strand> strand_;
  const std::unique_ptr<v1::DrainService::Stub> stub_;
  const OnAnswer on_answer_;
  const OnEnd on_end_;
  grpc::ClientContext context_;
  v1::DrainRequest request_;
  v1::DrainResponse response_;
  std::shared_ptr<AskReplica> self_;
};

class DrainCall final : public PublicCall<v1::DrainRequest, v1::DrainResponse> {
 public:
  explicit DrainCall(const GatewayDrainOptions& options)
      : PublicCall(options.house), options_(options) {}

 private:
  absl::Status Begin(v1::DrainRequest request) override {
    ReplicaInfo own = options_.describe();
    own.draining = true;
    if (request.address().empty() || request.address() == own.replica.address) {
      AskOurselves(own);
      return absl::OkStatus();
    }
    return Ask(request.address());
  }

  void AskOurselves(const ReplicaInfo& own) {
    watch_ =
        options_.drain->Ask([weak = Weak(), strand = strand(), own](const DrainProgress& progress) {
          strand->Post([weak, answer = EncodeDrain(own, progress)] {
            if (const auto self = weak.lock()) self->Take(answer);
          });
        });
  }

  absl::Status Ask(const std::string& address) {
    const std::vector<KnownReplica> all = options_.discovery->replicas();
    const auto known = std::find_if(all.begin(), all.end(),
                                    [&](const KnownReplica& r) { return r.address == address; });
    const auto channel = options_.discovery->ChannelTo(address);
    if (known == all.end() || channel == nullptr) {
      return absl::NotFoundError(
          fmt::format("this gateway knows no replica at {}; `catena status` lists their addresses",
                      Quoted(address)));
    }
    peer_ = {.name = fmt::format("the {}", RoleName(known->role)),
             .address = address,
             .advice = "does it still run? `catena status` says how it is"};
    ask_ = AskReplica::Start(
        strand(), channel,
        [weak = Weak(), strand = strand()](const v1::DrainResponse& answer) {
          strand->Post([weak, answer] {
            if (const auto self = weak.lock()) self->Take(answer);
          });
        },
        [weak = Weak(), strand = strand()](const grpc::Status& status) {
          strand->Post([weak, status] {
            if (const auto self = weak.lock()) self->AskEnded(status);
          });
        });
    return absl::OkStatus();
  }

  void Take(v1::DrainResponse answer) {
    next_ = std::move(answer);
    if (next_->replica().address() != peer_.address && !peer_.address.empty()) {
      next_->mutable_replica()->set_address(peer_.address);  // as it is reached from here
    }
    answered_ = true;
    ended_ |= next_->ended();
    Pump();
  }
  void AskEnded(const grpc::Status& status) {
    if (!ended_) Fail(ExplainError(status, peer_, answered_));
  }

  bool Compose(v1::DrainResponse* response) override {
    if (!next_) return false;
    *response = *std::exchange(next_, std::nullopt);
    return true;
  }
  bool Complete() const override { return ended_ && !next_; }
  void Abandon() override {
    watch_.reset();
    if (ask_ != nullptr) ask_->Cancel();
  }

  std::weak_ptr<DrainCall> Weak() { return Self<DrainCall>(); }

  const GatewayDrainOptions& options_;
  std::shared_ptr<void> watch_;      // where it is this gateway
  std::shared_ptr<AskReplica> ask_;  // where it is a replica,
  Peer peer_;                        // and which
  std::optional<v1::DrainResponse> next_;
  bool answered_ = false, ended_ = false;
};

}  // namespace

GatewayDrainService::GatewayDrainService(GatewayDrainOptions options)
    : options_(std::move(options)) {
  Add<v1::DrainResponse>(
      v1::DrainService::service_full_name(), "Drain", [this](grpc::CallbackServerContext* context) {
        return Admit<v1::DrainResponse>(context, CheckOperator(options_.access, *context),
                                        options_.calls, options_.refused,
                                        [this] { return std::make_shared<DrainCall>(options_); });
      });
}

}  // namespace catena
