// Finds the replicas of a cluster and keeps asking them how they are: addresses from a list, names
// resolved again every few seconds, each replica asked to Describe itself every second. What it
// learns goes to the token loop (shards and heads) and to the front (tokenizers).
//
// Names are resolved beside (target_addresses.h): a name server that fails or hangs changes nothing
// of what is known. When a replica is gone, or has failed, replica_health.h says. A name that
// vanishes from DNS means no new sequences there.
//
// Thread rules: Start and Stop by the owner; the rest from any thread. It has a thread of its own.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "catena/v1/cluster.pb.h"
#include <grpcpp/security/credentials.h>

#include "runtime/actor/gateway_actor.h"
#include "services/common/target_addresses.h"
#include "services/gateway/model_facts.h"
#include "services/gateway/tokenizer_replicas.h"

namespace catena {

struct DiscoveryOptions {
  // Targets: host:port (all addresses of the name), unix:/path.
  std::vector<std::string> tokenizers, shards, heads;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  limits::DetectionLimits detection = {};
  std::chrono::milliseconds resolve_every{3'000};
  Resolver resolve = ResolveBySystem;
  // Whoever asks with AskNow waits no longer than this or than a probe, whatever is longer:
  // `catena status` has 1.5 s.
  std::chrono::milliseconds answer_within{1'200};
};

// What is known of one replica.
struct KnownReplica {
  std::string address;
  Role role = Role::kShard;
  bool answers = false;
  std::string problem;  // of one that does not answer
  ReplicaInfo info;     // as it last described itself
};

// Why a replica that answers is not used, with what to do; "" where it is.
std::string WhyRefused(const KnownReplica& replica, const GatewayView& view);

class Discovery final : public TokenizerReplicas, public ModelFactsSource {
 public:
  // `gateway` outlives this.
  Discovery(DiscoveryOptions options, GatewayActor* gateway);
  ~Discovery() override;  // Stop

  void Start();
  void Stop();

  std::vector<TokenizerReplica> Serving() override;
  // Of a tokenizer that answers now and is of the served model. UNAVAILABLE where none answers,
  // FAILED_PRECONDITION where those that do are of another model.
  absl::StatusOr<std::shared_ptr<const ModelFacts>> Facts() const override;
  absl::StatusOr<std::shared_ptr<const ModelFacts>> LastFacts() const override;
  std::vector<KnownReplica> replicas() const;
  // Asks all replicas again now, and then calls `done`, once, on its own thread. Where a round is
  // on its way that a frozen replica holds up, and another would take too long, that one will do.
  void AskNow(std::function<void()> done);
  // To a shard or head, for `catena debug`; null where the address is unknown.
  std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address) const;

 private:
  struct Member;
  struct Probe;
  struct Waiter {
    std::chrono::steady_clock::time_point asked_at;
    std::function<void()> done;
  };

  void Loop();
  // Calls those who wait for the round that began then.
  void Answer(std::chrono::steady_clock::time_point round_began);
  void UpdateMembers();  // as the targets' addresses are now
  void AddMembers(const std::vector<std::string>& targets, Role role,
                  std::map<std::string, Role>* seen);
  void ProbeAll();
  std::shared_ptr<Probe> StartProbe(Member* member);
  void TakeAnswer(Member* member, const Probe& probe);
  void Judge(Member* member);
  // What the log is to say, once no lock is held.
  struct LogLine {
    bool warning = false;
    std::string text;
  };
  static void NoteChanges(const GatewayView& view, Member* member, std::vector<LogLine>* lines);
  void Publish();

  const DiscoveryOptions options_;
  const TargetAddresses addresses_;
  GatewayActor* const gateway_;
  std::thread thread_;

  mutable std::mutex mutex_;  // of all below
  std::condition_variable wake_;
  bool stopped_ = false;
  std::vector<Waiter> waiting_;                             // for the next answers
  std::map<std::string, std::unique_ptr<Member>> members_;  // by address
  // What Facts last gave.
  mutable std::shared_ptr<const ModelFacts> last_facts_;
};

}  // namespace catena
