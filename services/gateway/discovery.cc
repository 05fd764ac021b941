#include "services/gateway/discovery.h"

#include <algorithm>
#include <future>
#include <iterator>

#include "catena/v1/chain.grpc.pb.h"
#include "catena/v1/tokenizer.grpc.pb.h"
#include <spdlog/spdlog.h>

#include "runtime/chain/limits.h"
#include "services/common/channel.h"
#include "services/common/replica_description.h"
#include "services/common/status.h"
#include "services/gateway/replica_health.h"

namespace catena {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> AllTargets(const DiscoveryOptions& o) {
  std::vector<std::string> all = o.tokenizers;
  all.insert(all.end(), o.shards.begin(), o.shards.end());
  all.insert(all.end(), o.heads.begin(), o.heads.end());
  return all;
}

std::string Describe(const ModelInfo& model) {
  return fmt::format("model {} ({})", Quoted(model.name), model.fingerprint);
}

}  // namespace

std::string WhyRefused(const KnownReplica& replica, const GatewayView& view) {
  if (replica.role != Role::kTokenizer) {
    const auto refused = view.refused.find(replica.info.replica.incarnation);
    return refused == view.refused.end() ? "" : refused->second;
  }
  const ModelInfo& own = replica.info.model;
  const ModelInfo& served = view.model;
  if (served.fingerprint.empty() || own.fingerprint == served.fingerprint) return "";
  return fmt::format(
      "the tokenizer at {} is of {}, and the cluster serves {}; start it with the same model",
      replica.address, Describe(own), Describe(served));
}

struct Discovery::Member {
  explicit Member(const ReplicaHealth& h) : health(h) {}
  KnownReplica known;
  std::shared_ptr<grpc::Channel> channel;
  bool named = true;  // by the list or DNS
  ReplicaHealth health;
  bool was_answering = false;
  bool was_refused = false;
  Incarnation published = 0;                // as the token loop has it
  std::shared_ptr<const ModelFacts> facts;  // a tokenizer's
};

// One Describe in flight. The callback holds it, so it outlives whoever no longer waits.
struct Discovery::Probe {
  grpc::ClientContext context;
  std::promise<grpc::Status> done;
  v1::TokenizerServiceDescribeRequest tokenizer_request;
  v1::TokenizerServiceDescribeResponse tokenizer;
  v1::ChainServiceDescribeRequest stage_request;
  v1::ChainServiceDescribeResponse stage;
  std::unique_ptr<v1::TokenizerService::Stub> tokenizer_stub;
  std::unique_ptr<v1::ChainService::Stub> stage_stub;

  const v1::ReplicaDescription& replica(Role role) const {
    return role == Role::kTokenizer ? tokenizer.replica() : stage.replica();
  }
};

Discovery::Discovery(DiscoveryOptions options, GatewayActor* gateway)
    : options_(std::move(options)),
      addresses_(AllTargets(options_), options_.resolve, options_.resolve_every),
      gateway_(gateway) {}

Discovery::~Discovery() { Stop(); }

void Discovery::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Discovery::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Discovery::Loop() {
  while (true) {
    UpdateMembers();
    const Clock::time_point began = Clock::now();
    ProbeAll();
    Publish();
    Answer(began);
    // Quicker while something is missing, so that a cluster starts as fast as its slowest part.
    const bool complete = gateway_->view().route.ok() && Facts().ok();
    std::unique_lock lock(mutex_);
    const auto pause =
        complete ? options_.detection.probe_every : options_.detection.probe_every / 10;
    wake_.wait_for(lock, pause, [this] { return stopped_ || !waiting_.empty(); });
    if (!stopped_) continue;
    lock.unlock();
    return Answer(Clock::time_point::max());
  }
}

void Discovery::AskNow(std::function<void()> done) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      waiting_.push_back({Clock::now(), std::move(done)});
      wake_.notify_all();
      return;
    }
  }
  done();
}

void Discovery::Answer(Clock::time_point round_began) {
  std::vector<Waiter> answered;
  {
    const std::lock_guard lock(mutex_);
    const Clock::time_point another_ends = Clock::now() + options_.detection.probe_timeout;
    const auto wait_on =
        std::stable_partition(waiting_.begin(), waiting_.end(), [&](const Waiter& w) {
          return w.asked_at <= round_began || another_ends > w.asked_at + options_.answer_within;
        });
    answered.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(wait_on));
    waiting_.erase(waiting_.begin(), wait_on);
  }
  for (const Waiter& w : answered) w.done();
}

void Discovery::AddMembers(const std::vector<std::string>& targets, Role role,
                           std::map<std::string, Role>* seen) {
  for (const std::string& target : targets) {
    for (const std::string& address : addresses_.Of(target)) (*seen)[address] = role;
  }
}

void Discovery::UpdateMembers() {
  std::map<std::string, Role> seen;
  AddMembers(options_.tokenizers, Role::kTokenizer, &seen);
  AddMembers(options_.shards, Role::kShard, &seen);
  AddMembers(options_.heads, Role::kHead, &seen);
  const std::lock_guard lock(mutex_);
  for (auto& [address, member] : members_) member->named = seen.contains(address);
  for (const auto& [address, role] : seen) {
    if (members_.contains(address)) continue;
    auto member = std::make_unique<Member>(ReplicaHealth(options_.detection));
    member->known.address = address;
    member->known.role = role;
    member->known.problem = member->health.problem();
    member->channel = MakeChannel(address, options_.credentials);
    members_[address] = std::move(member);
  }
  // Neither named nor alive: forgotten.
  std::erase_if(members_,
                [](const auto& m) { return !m.second->named && !m.second->known.answers; });
}

std::shared_ptr<Discovery::Probe> Discovery::StartProbe(Member* member) {
  auto probe = std::make_shared<Probe>();
  probe->context.set_deadline(std::chrono::system_clock::now() + options_.detection.probe_timeout);
  auto done = [probe](grpc::Status status) { probe->done.set_value(std::move(status)); };
  Probe& p = *probe;
  if (member->known.role == Role::kTokenizer) {
    p.tokenizer_stub = v1::TokenizerService::NewStub(member->channel);
    p.tokenizer_stub->async()->Describe(&p.context, &p.tokenizer_request, &p.tokenizer, done);
  } else {
    p.stage_stub = v1::ChainService::NewStub(member->channel);
    p.stage_stub->async()->Describe(&p.context, &p.stage_request, &p.stage, done);
  }
  return probe;
}

void Discovery::ProbeAll() {
  std::vector<std::pair<Member*, std::shared_ptr<Probe>>> probes;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [address, member] : members_) {
      probes.emplace_back(member.get(), StartProbe(member.get()));
    }
  }
  // Only this thread removes members, so the pointers hold while the lock is not held.
  for (auto& [member, probe] : probes) {
    const grpc::Status status = probe->done.get_future().get();
    const std::lock_guard lock(mutex_);
    if (status.ok()) {
      TakeAnswer(member, *probe);
      continue;
    }
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      member->health.Refused(status.error_message());
    } else {
      member->health.Missed(status.error_message());
    }
    Judge(member);
  }
}

void Discovery::Judge(Member* member) {
  member->known.answers = member->health.answers();
  member->known.problem = member->health.problem();
}

void Discovery::TakeAnswer(Member* member, const Probe& probe) {
  KnownReplica& known = member->known;
  absl::StatusOr<ReplicaInfo> info = DecodeReplicaInfo(probe.replica(known.role));
  if (info.ok() && info->role != known.role) {
    info = absl::InvalidArgumentError(fmt::format("is a {}", RoleName(info->role)));
  }
  if (info.ok() && known.role == Role::kTokenizer) {
    absl::StatusOr<ModelFacts> facts = FactsOf(probe.tokenizer);
    if (facts.ok()) {
      member->facts = std::make_shared<const ModelFacts>(*std::move(facts));
    } else {
      info = facts.status();
    }
  }
  if (info.ok()) {
    member->health.Answered(info->replica.incarnation, info->load, Clock::now());
    known.info = *std::move(info);
    known.info.replica.address = known.address;  // as it is reached from here
  } else {
    member->health.Misspoke(std::string(Message(info.status())));
  }
  Judge(member);
}

// What has changed goes to the log, once.
void Discovery::NoteChanges(const GatewayView& view, Member* member, std::vector<LogLine>* lines) {
  const KnownReplica& known = member->known;
  if (known.answers != member->was_answering) {
    member->was_answering = known.answers;
    lines->push_back({.warning = !known.answers,
                      .text = fmt::format("{} {} {}", RoleName(known.role), known.address,
                                          known.answers ? "answers" : known.problem)});
    if (!known.answers) member->was_refused = false;
  }
  // The view knows nothing yet of one that has just come.
  const bool in_view =
      known.role == Role::kTokenizer || member->published == known.info.replica.incarnation;
  if (!known.answers || !in_view) return;
  const std::string refused = WhyRefused(known, view);
  if (refused.empty() == !member->was_refused) return;
  member->was_refused = !refused.empty();
  const std::string again =
      fmt::format("{} {} is no longer refused", RoleName(known.role), known.address);
  lines->push_back({.warning = member->was_refused,
                    .text = member->was_refused ? "refused: " + refused : again});
}

void Discovery::Publish() {
  std::vector<ReplicaInfo> stages;
  std::vector<AbsentReplica> absent;
  std::vector<LogLine> lines;
  const GatewayView view = gateway_->view();
  {
    const std::lock_guard lock(mutex_);
    for (auto& [address, member] : members_) {
      NoteChanges(view, member.get(), &lines);
      const KnownReplica& known = member->known;
      member->published = 0;
      if (known.role == Role::kTokenizer) continue;
      const Incarnation incarnation = known.info.replica.incarnation;
      if (!known.answers) {
        absent.push_back({incarnation, member->health.well_at(), known.problem});
        continue;
      }
      stages.push_back(known.info);
      stages.back().draining |= !member->named;
      member->published = incarnation;
    }
  }
  gateway_->SetReplicas(std::move(stages), std::move(absent));
  for (const LogLine& line : lines) {
    line.warning ? spdlog::warn("{}", line.text) : spdlog::info("{}", line.text);
  }
}

std::vector<TokenizerReplica> Discovery::Serving() {
  const GatewayView view = gateway_->view();
  const std::lock_guard lock(mutex_);
  std::vector<TokenizerReplica> serving, draining;
  for (const auto& [address, member] : members_) {
    const KnownReplica& known = member->known;
    if (known.role == Role::kTokenizer && known.answers && WhyRefused(known, view).empty()) {
      (known.info.draining ? draining : serving).push_back({address, member->channel});
    }
  }
  // One that drains still serves for its grace: better than none.
  return serving.empty() ? draining : serving;
}

absl::StatusOr<std::shared_ptr<const ModelFacts>> Discovery::Facts() const {
  const GatewayView view = gateway_->view();
  absl::Status why_none = WithReason(
      absl::UnavailableError("no tokenizer can be reached; start one"), ErrorReason::kNoTokenizer);
  const std::lock_guard lock(mutex_);
  for (const auto& [address, member] : members_) {
    const KnownReplica& known = member->known;
    if (known.role != Role::kTokenizer || !known.answers) continue;
    if (const std::string refused = WhyRefused(known, view); !refused.empty()) {
      why_none = WithReason(absl::FailedPreconditionError(refused), ErrorReason::kModelMismatch);
      continue;
    }
    if (view.model.context_length <= 0) return last_facts_ = member->facts;
    auto facts = std::make_shared<ModelFacts>(*member->facts);
    facts->model.context_length = view.model.context_length;
    facts->model.fingerprint = view.model.fingerprint;
    facts->numerics_id = view.numerics_id;
    return last_facts_ = std::move(facts);
  }
  return why_none;
}

absl::StatusOr<std::shared_ptr<const ModelFacts>> Discovery::LastFacts() const {
  auto facts = Facts();
  if (!absl::IsUnavailable(facts.status())) return facts;
  const std::lock_guard lock(mutex_);
  if (last_facts_ == nullptr) return facts;
  return last_facts_;
}

std::vector<KnownReplica> Discovery::replicas() const {
  const std::lock_guard lock(mutex_);
  std::vector<KnownReplica> replicas;
  for (const auto& [address, member] : members_) replicas.push_back(member->known);
  return replicas;
}

std::shared_ptr<grpc::Channel> Discovery::ChannelTo(const std::string& address) const {
  const std::lock_guard lock(mutex_);
  const auto it = members_.find(address);
  return it == members_.end() ? nullptr : it->second->channel;
}

}  // namespace catena
