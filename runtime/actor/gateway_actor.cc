#include "runtime/actor/gateway_actor.h"

namespace catena {

GatewayActor::GatewayActor(const GatewayCoreOptions& options) : Actor(&core_), core_(options) {
  view_.route = core_.router().complete();
}

GatewayActor::~GatewayActor() { Stop(); }

uint64_t GatewayActor::Submit(LoopRequest request, std::shared_ptr<LoopListener> listener) {
  const uint64_t ticket = next_ticket_++;
  Post([this, ticket, request = std::move(request),
        listener = std::move(listener)](Instant now) mutable {
    core_.Submit(ticket, std::move(request), std::move(listener), now);
  });
  return ticket;
}

void GatewayActor::Cancel(uint64_t ticket) {
  Post([this, ticket](Instant now) { core_.Cancel(ticket, now); });
}

void GatewayActor::SetReplicas(std::vector<ReplicaInfo> replicas,
                               std::vector<AbsentReplica> absent) {
  Post([this, replicas = std::move(replicas), absent = std::move(absent)](Instant now) mutable {
    core_.SetReplicas(std::move(replicas), now, std::move(absent));
  });
}

void GatewayActor::AfterRound(Instant) {
  for (const LoopEvent& event : core_.TakeEvents()) Deliver(event);
  UpdateView();
}

void GatewayActor::UpdateView() {
  const std::lock_guard lock(mutex_);
  view_.waiting = core_.waiting();
  view_.running = core_.running();
  view_.worked_at = core_.worked_at();
  view_.trail = core_.trail();
  const Router& router = core_.router();
  if (router.version() == shown_version_) return;
  shown_version_ = router.version();
  view_.route = router.complete();
  view_.model = router.model();
  view_.numerics_id = router.numerics_id();
  view_.refused.clear();
  view_.broken.clear();
  for (const ReplicaInfo& r : router.replicas()) {
    std::string why = router.WhyRefused(r.replica.incarnation);
    if (!why.empty()) view_.refused[r.replica.incarnation] = std::move(why);
    std::string broken = router.BrokenAt(r);
    if (!broken.empty()) view_.broken[r.replica.incarnation] = std::move(broken);
  }
}

void GatewayActor::AskView(std::function<void(const GatewayView&)> done) {
  Post([this, done = std::move(done)](Instant) {
    UpdateView();
    done(view());
  });
}

GatewayView GatewayActor::view() const {
  const std::lock_guard lock(mutex_);
  return view_;
}

void GatewayActor::View(PublicId id, std::function<void(std::optional<SequenceAtGateway>)> done) {
  Post([this, id, done = std::move(done)](Instant) { done(core_.View(id)); });
}

void GatewayActor::AskSequences(size_t most,
                                std::function<void(std::vector<SequenceSummary>)> done) {
  Post([this, most, done = std::move(done)](Instant now) { done(core_.Sequences(most, now)); });
}

}  // namespace catena
