// catena status: the replicas of a cluster, how they do, and what is missing.
#include "catena/v1/cluster.grpc.pb.h"
#include <poll.h>
#include <unistd.h>

#include "services/cli/gateway_options.h"
#include "services/cli/interrupt.h"
#include "services/cli/output.h"
#include "services/cli/status_view.h"

namespace catena::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStatusBound{1500};  // the contract is 2 s for the whole command
constexpr milliseconds kWatchInterval{1000};
constexpr std::string_view kClearScreen = "\x1b[H\x1b[J";

struct StatusOptions {
  GatewayOptions gateway;
  bool json = false, watch = false, sequences = false;
};

class Asker {
 public:
  static absl::StatusOr<Asker> Make(const StatusOptions& o) {
    CATENA_ASSIGN_OR_RETURN(const auto channel, o.gateway.Connect());
    return Asker(o, v1::ClusterService::NewStub(channel));
  }

  absl::StatusOr<v1::GetStatusResponse> Ask() {
    grpc::ClientContext context;
    options_.gateway.Prepare(kStatusBound, &context);
    v1::GetStatusResponse response;
    CATENA_RETURN_IF_ERROR(options_.gateway.ToStatus(stub_->GetStatus(&context, {}, &response)));
    return response;
  }

 private:
  Asker(const StatusOptions& o, std::unique_ptr<v1::ClusterService::Stub> stub)
      : options_(o), stub_(std::move(stub)) {}
  const StatusOptions& options_;
  std::unique_ptr<v1::ClusterService::Stub> stub_;
};

absl::Status Show(const StatusOptions& o, const v1::GetStatusResponse& status) {
  if (o.json) return WriteJson(StatusJson(status, o.gateway.address));
  return Write(StatusTable(status, o.gateway.address));
}

absl::Status ShowOnce(const StatusOptions& o) {
  CATENA_ASSIGN_OR_RETURN(Asker asker, Asker::Make(o));
  CATENA_ASSIGN_OR_RETURN(const v1::GetStatusResponse status, asker.Ask());
  CATENA_RETURN_IF_ERROR(Show(o, status));
  const auto why_not = WhyNotReady(status);
  if (!why_not) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format("the cluster is not ready: {}", *why_not));
}

absl::Status ShowSequences(const StatusOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const auto channel, o.gateway.Connect());
  const auto stub = v1::ClusterService::NewStub(channel);
  grpc::ClientContext context;
  o.gateway.Prepare(kStatusBound, &context);
  v1::ListSequencesResponse response;
  CATENA_RETURN_IF_ERROR(o.gateway.ToStatus(stub->ListSequences(&context, {}, &response)));
  return o.json ? WriteJson(RunningJson(response)) : Write(RunningTable(response));
}

// Until Ctrl-C, which is no error here. A gateway that does not answer may come back.
absl::Status Watch(const StatusOptions& o) {
  CATENA_ASSIGN_OR_RETURN(Asker asker, Asker::Make(o));
  const bool terminal = !o.json && isatty(STDOUT_FILENO) == 1;
  while (!InterruptFlag()) {
    const auto status = asker.Ask();
    if (terminal) CATENA_RETURN_IF_ERROR(Write(kClearScreen));
    if (status.ok()) {
      CATENA_RETURN_IF_ERROR(Show(o, *status));
    } else if (terminal) {
      CATENA_RETURN_IF_ERROR(Write(fmt::format("{}\n", Message(status.status()))));
    } else {
      return status.status();
    }
    poll(nullptr, 0, static_cast<int>(kWatchInterval.count()));  // a signal ends it early
  }
  return absl::OkStatus();
}

}  // namespace

Action DeclareStatus(App& app) {
  auto o = std::make_shared<StatusOptions>();
  o->gateway.DeclareForOperators(app).Required();
  app.AddFlag("--json", &o->json, "One JSON object");
  const Option watch = app.AddFlag("--watch", &o->watch, "Again every second until Ctrl-C");
  app.AddFlag("--sequences", &o->sequences,
              "The sequences that wait or run: their age, and how long nothing of them was done")
      .Excludes(watch);
  return [o] {
    if (o->sequences) return ShowSequences(*o);
    return o->watch ? Watch(*o) : ShowOnce(*o);
  };
}

}  // namespace catena::cli
