#include "services/gateway/cluster_service.h"

#include <algorithm>

#include "services/common/replica_description.h"
#include "services/common/request_limits.h"
#include "services/common/status.h"
#include "services/gateway/debug_fan_out.h"

namespace catena {
namespace {

v1::ReplicaHealth HealthOf(const KnownReplica& replica, const std::string& refused) {
  if (!replica.answers) return v1::REPLICA_HEALTH_UNREACHABLE;
  return refused.empty() ? v1::REPLICA_HEALTH_SERVING : v1::REPLICA_HEALTH_REFUSED;
}

// In the order of data: tokenizers, shards by their blocks, heads.
bool Before(const KnownReplica& a, const KnownReplica& b) {
  auto rank = [](const KnownReplica& r) {
    return std::tuple(static_cast<int>(r.role), r.info.layers.begin, r.info.layers.end, r.address);
  };
  return rank(a) < rank(b);
}

// What is wrong with a replica, used or not: "" where all is well.
std::string ProblemOf(const KnownReplica& replica, const ClusterServiceOptions& o,
                      const GatewayView& view) {
  if (!replica.answers) return replica.problem;
  if (std::string refused = WhyRefused(replica, view); !refused.empty()) return refused;
  const Incarnation incarnation = replica.info.replica.incarnation;
  const auto broken = view.broken.find(incarnation);
  return broken != view.broken.end() ? broken->second : o.readiness->Trouble(incarnation);
}

void FillStatus(const ClusterServiceOptions& o, const GatewayView& view,
                v1::GetStatusResponse* response) {
  // What the replicas have just said is newer than the last look at them.
  absl::Status ready = view.route;
  if (ready.ok()) ready = o.discovery->Facts().status();
  if (ready.ok()) ready = o.readiness->status();
  response->set_ready(ready.ok());
  response->set_problem(std::string(Message(ready)));
  response->set_requests_waiting(view.waiting);
  response->set_requests_running(view.running);
  const GatewayMetrics::MoveTotals moves = o.metrics->moves();
  response->set_moves(moves.moves);
  response->set_replayed_tokens(moves.replayed);
  response->set_longest_pause_ns(moves.longest_pause.count());
  EncodeReplicaInfo(o.describe(), response->mutable_gateway());
  std::vector<KnownReplica> replicas = o.discovery->replicas();
  std::sort(replicas.begin(), replicas.end(), Before);
  for (const KnownReplica& replica : replicas) {
    const std::string why = WhyRefused(replica, view);
    v1::ReplicaStatus* out = response->add_replicas();
    ReplicaInfo info = replica.info;
    info.replica.address = replica.address;
    info.role = replica.role;
    EncodeReplicaInfo(info, out->mutable_replica());
    out->set_health(HealthOf(replica, why));
    out->set_problem(ProblemOf(replica, o, view));
  }
}

class GetStatusCall final : public UnaryCall<v1::GetStatusRequest, v1::GetStatusResponse> {
 public:
  explicit GetStatusCall(const ClusterServiceOptions& options)
      : UnaryCall(options.house), options_(options) {}

 private:
  absl::Status Begin(v1::GetStatusRequest) override {
    options_.discovery->AskNow([self = Self<GetStatusCall>()] {
      self->options_.gateway->AskView([self](const GatewayView& view) {
        v1::GetStatusResponse response;
        FillStatus(self->options_, view, &response);
        self->strand()->Post(
            [self, response = std::move(response)]() mutable { self->Reply(std::move(response)); });
      });
    });
    return absl::OkStatus();
  }

  const ClusterServiceOptions& options_;
};

class DebugSequenceCall final
    : public UnaryCall<v1::DebugSequenceRequest, v1::DebugSequenceResponse> {
 public:
  explicit DebugSequenceCall(const ClusterServiceOptions& options)
      : UnaryCall(options.house), options_(options) {}

 private:
  absl::Status Begin(v1::DebugSequenceRequest request) override {
    CATENA_ASSIGN_OR_RETURN(const PublicId id, ParsePublicId(request.sequence_id()));
    options_.gateway->View(id, [self = Self<DebugSequenceCall>(),
                                id](const std::optional<SequenceAtGateway>& sequence) {
      if (sequence) return self->Ask(*sequence);
      self->strand()->Post([self, id] {
        self->Fail(
            WithReason(absl::NotFoundError(fmt::format(
                           "sequence {} does not run here; it may have ended", ToString(id))),
                       ErrorReason::kUnknownSequence));
      });
    });
    return absl::OkStatus();
  }

  // All its stages.
  void Ask(const SequenceAtGateway& sequence) {
    v1::SequenceAtStage* own = answers_.add_stages();
    own->set_address(options_.describe().replica.address);
    own->set_role(v1::ROLE_GATEWAY);
    EncodeView(sequence.view, own);
    std::vector<KnownReplica> stages = options_.discovery->replicas();
    std::sort(stages.begin(), stages.end(), Before);
    AskStages(sequence.key, stages, *options_.discovery, &answers_,
              [self = Self<DebugSequenceCall>()] {
                self->strand()->Post([self] { self->Reply(std::move(self->answers_)); });
              });
  }

  const ClusterServiceOptions& options_;
  v1::DebugSequenceResponse answers_;
};

// So many sequences are told at most; an answer stays far below what clients take.
constexpr size_t kMaxListed = 1000;

v1::SequenceState StateOf(SequenceSummary::State state) {
  switch (state) {
    case SequenceSummary::State::kWaiting:
      return v1::SEQUENCE_STATE_WAITING;
    case SequenceSummary::State::kOpening:
      return v1::SEQUENCE_STATE_OPENING;
    case SequenceSummary::State::kRunning:
      return v1::SEQUENCE_STATE_RUNNING;
    case SequenceSummary::State::kMoving:
      return v1::SEQUENCE_STATE_MOVING;
    case SequenceSummary::State::kStranded:
      return v1::SEQUENCE_STATE_STRANDED;
  }
  return v1::SEQUENCE_STATE_UNSPECIFIED;
}

void Encode(const SequenceSummary& s, v1::RunningSequence* out) {
  out->set_sequence_id(ToString(s.id));
  out->set_state(StateOf(s.state));
  out->set_age_ns(s.age.count());
  out->set_since_progress_ns(s.still.count());
  out->set_prompt_tokens(s.prompt_tokens);
  out->set_output_tokens(s.output_tokens);
  for (const SequenceSummary::Stage& stage : s.route) out->add_route(stage.address);
}

class ListSequencesCall final
    : public UnaryCall<v1::ListSequencesRequest, v1::ListSequencesResponse> {
 public:
  explicit ListSequencesCall(const ClusterServiceOptions& options)
      : UnaryCall(options.house), options_(options) {}

 private:
  absl::Status Begin(v1::ListSequencesRequest request) override {
    if (request.limit() < 0) {
      return WithField(absl::InvalidArgumentError(
                           fmt::format("limit is {}: it must not be negative", request.limit())),
                       "limit");
    }
    const auto asked = static_cast<size_t>(request.limit());
    const size_t most = asked == 0 ? kMaxListed : std::min(asked, kMaxListed);
    options_.gateway->AskSequences(
        most, [self = Self<ListSequencesCall>()](const std::vector<SequenceSummary>& sequences) {
          v1::ListSequencesResponse response;
          for (const SequenceSummary& s : sequences) Encode(s, response.add_sequences());
          const GatewayView view = self->options_.gateway->view();
          response.set_total(std::max(view.waiting + view.running, std::ssize(sequences)));
          self->strand()->Post([self, response = std::move(response)]() mutable {
            self->Reply(std::move(response));
          });
        });
    return absl::OkStatus();
  }

  const ClusterServiceOptions& options_;
};

}  // namespace

ClusterServiceImpl::ClusterServiceImpl(ClusterServiceOptions options)
    : options_(std::move(options)) {
  AddCall<GetStatusCall, v1::GetStatusResponse>("GetStatus");
  AddCall<DebugSequenceCall, v1::DebugSequenceResponse>("DebugSequence");
  AddCall<ListSequencesCall, v1::ListSequencesResponse>("ListSequences");
}

template <typename Call, typename Response>
void ClusterServiceImpl::AddCall(const std::string& method) {
  Add<Response>(v1::ClusterService::service_full_name(), method,
                [this](grpc::CallbackServerContext* context) {
                  return Admit<Response>(context, CheckOperator(options_.access, *context),
                                         options_.calls, options_.refused,
                                         [this] { return std::make_shared<Call>(options_); });
                });
}

}  // namespace catena
