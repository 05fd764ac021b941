// catena drain: ends one process of a cluster, once what runs there has moved away.
#include <chrono>
#include <optional>
#include <string>

#include "catena/v1/cluster.grpc.pb.h"
#include <poll.h>

#include "services/cli/detection_options.h"
#include "services/cli/gateway_options.h"
#include "services/cli/output.h"
#include "services/cli/role_options.h"
#include "services/cli/status_view.h"
#include "services/common/channel.h"
#include "services/common/status.h"

namespace catena::cli {
namespace {

using WallClock = std::chrono::system_clock;

constexpr std::chrono::milliseconds kLookEvery{50};    // whether it still answers its gateway
constexpr std::chrono::milliseconds kAskBound{2'000};  // of one such question
constexpr std::chrono::milliseconds kShowEvery{1'000};

struct DrainOptions {
  GatewayOptions gateway;
  std::string address;
  std::string timeout = "2m";
  bool json = false;
};

// Who is asked: the process itself, or a gateway that asks it.
struct Asked {
  GatewayOptions by;
  bool is_forwarded = false;
  std::shared_ptr<grpc::Channel> channel;

  absl::Status Explain(const grpc::Status& status, bool answered) const {
    if (is_forwarded) return by.ToStatus(status, answered);
    const Peer peer{
        "the process", by.address,
        "does it run there? To ask its gateway for it give --gateway; if it speaks TLS, "
        "--tls-ca, and --tls-cert and --tls-key of the cluster"};
    return ExplainError(status, peer, answered);
  }
};

absl::StatusOr<Asked> Connect(const DrainOptions& o) {
  Asked asked{.by = o.gateway, .channel = nullptr};
  asked.is_forwarded = !o.gateway.address.empty() && o.gateway.address != o.address;
  asked.by.address = o.gateway.address.empty() ? o.address : o.gateway.address;
  // As processes of a cluster take each other (credentials.h): by their authority alone.
  const bool member = o.gateway.address.empty() && !o.gateway.tls.certificate.empty();
  CATENA_ASSIGN_OR_RETURN(
      const auto credentials,
      MakeChannelCredentials(o.gateway.tls, member ? PeerNames::kAnyMember : PeerNames::kAsCalled));
  asked.channel = MakeChannel(asked.by.address, credentials, {.tls_name = o.gateway.tls_name});
  return asked;
}

// Shows how far it is: at first, at the end, and in between not too often.
class Progress {
 public:
  explicit Progress(bool json) : json_(json) {}

  absl::Status Take(const v1::DrainResponse& now) {
    const auto time = WallClock::now();
    const bool show = json_ || now.ended() || !shown_at_ || time >= *shown_at_ + kShowEvery;
    if (!show) return absl::OkStatus();
    shown_at_ = time;
    return json_ ? WriteJson(DrainJson(now)) : Write(DrainLine(now));
  }

 private:
  const bool json_;
  std::optional<WallClock::time_point> shown_at_;
};

absl::Status StillThere(const DrainOptions& o, const v1::DrainResponse& last) {
  return absl::DeadlineExceededError(
      fmt::format("{} at {} still runs after {}, with {} left; it ends when they have gone or "
                  "its --grace is over. Run this again to go on watching",
                  StageName(last.replica()), o.address, o.timeout, LeftText(last)));
}

// Until its port is closed, by the connection to it.
absl::Status AwaitClosed(const std::shared_ptr<grpc::Channel>& channel,
                         WallClock::time_point deadline, const absl::Status& too_late) {
  grpc_connectivity_state state = channel->GetState(true);
  while (state == GRPC_CHANNEL_READY) {  // it has said nothing yet
    if (!channel->WaitForStateChange(state, deadline)) return too_late;
    state = channel->GetState(true);
  }
  // Ready again is another process.
  while (state != GRPC_CHANNEL_READY && state != GRPC_CHANNEL_TRANSIENT_FAILURE) {
    if (!channel->WaitForStateChange(state, deadline)) return too_late;
    state = channel->GetState(true);
  }
  return absl::OkStatus();
}

// Until its gateway reaches it no more, or another process in its place.
absl::Status AwaitUnreachable(const Asked& asked, const v1::ReplicaDescription& replica,
                              WallClock::time_point deadline, const absl::Status& too_late) {
  const auto stub = v1::ClusterService::NewStub(asked.channel);
  while (true) {
    grpc::ClientContext context;
    asked.by.Prepare(kAskBound, &context);
    v1::GetStatusResponse status;
    CATENA_RETURN_IF_ERROR(asked.by.ToStatus(stub->GetStatus(&context, {}, &status)));
    bool answers = false;
    for (const v1::ReplicaStatus& r : status.replicas()) {
      answers |= r.health() != v1::REPLICA_HEALTH_UNREACHABLE &&
                 r.replica().incarnation() == replica.incarnation();
    }
    if (!answers) return absl::OkStatus();
    if (WallClock::now() >= deadline) return too_late;
    poll(nullptr, 0, static_cast<int>(kLookEvery.count()));
  }
}

// What it ended with had no other place to go to.
absl::Status WhatWasLeft(const DrainOptions& o, const v1::DrainResponse& last) {
  if (last.left() == 0) return absl::OkStatus();
  const auto then = [&]() -> const char* {
    switch (last.replica().role()) {
      case v1::ROLE_GATEWAY:
        return "that took longer than its --grace; their clients may ask another gateway";
      case v1::ROLE_TOKENIZER:
        return "that took longer than its --grace; other tokenizers begin them anew";
      default:
        return "that no other replica could take; they wait at their gateways for a while: start "
               "one of its kind";
    }
  };
  return absl::UnavailableError(fmt::format("{} at {} has ended with {} left {}",
                                            StageName(last.replica()), o.address, LeftText(last),
                                            then()));
}

absl::Status RunDrain(const DrainOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const auto bound, ParseDuration("--timeout", o.timeout));
  CATENA_ASSIGN_OR_RETURN(const Asked asked, Connect(o));
  const auto deadline = WallClock::now() + bound;
  const auto stub = v1::DrainService::NewStub(asked.channel);
  grpc::ClientContext context;
  asked.by.Prepare(bound, &context);
  v1::DrainRequest request;
  if (asked.is_forwarded) request.set_address(o.address);
  const auto reader = stub->Drain(&context, request);
  Progress progress(o.json);
  v1::DrainResponse next, last;
  bool answered = false;
  absl::Status shown;
  while (shown.ok() && reader->Read(&next)) {
    answered = true;
    last.Swap(&next);
    last.mutable_replica()->set_address(o.address);  // as it was asked for
    shown = progress.Take(last);
  }
  if (!shown.ok()) context.TryCancel();
  const grpc::Status status = reader->Finish();
  CATENA_RETURN_IF_ERROR(shown);
  if (answered && status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return StillThere(o, last);
  }
  if (!last.ended()) {
    CATENA_RETURN_IF_ERROR(asked.Explain(status, answered));
    return absl::InternalError("it ended the call without a word; `catena status` says how it is");
  }
  const absl::Status too_late = StillThere(o, last);
  const bool by_gateway = asked.is_forwarded && last.replica().role() != v1::ROLE_GATEWAY;
  CATENA_RETURN_IF_ERROR(by_gateway ? AwaitUnreachable(asked, last.replica(), deadline, too_late)
                                    : AwaitClosed(asked.channel, deadline, too_late));
  return WhatWasLeft(o, last);
}

}  // namespace

Action DeclareDrain(App& app) {
  auto o = std::make_shared<DrainOptions>();
  app.AddOption("address", &o->address,
                "The process: host:port or unix:/path, with --gateway as `catena status` has it")
      .Required()
      .Check(CheckListenAddress);
  o->gateway.DeclareForOperators(app);
  app.AddOption("--timeout", &o->timeout, "Wait so long until it has ended, as 30s (default 2m)")
      .Check(CheckDuration);
  app.AddFlag("--json", &o->json, "How far it is as JSON objects, one a line");
  return [o] { return RunDrain(*o); };
}

}  // namespace catena::cli
