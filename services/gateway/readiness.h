// Whether the cluster can serve: sends the tokens that a ReadinessJudge asks for, and tells the
// health service, the log and `catena status` what it finds.
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
#include <utility>
#include <vector>

#include "runtime/actor/gateway_actor.h"
#include "services/gateway/model_facts.h"
#include "services/gateway/readiness_judge.h"

namespace catena {

class Readiness {
 public:
  // `on_change` is called on its thread. `gateway` and `facts` outlive this.
  Readiness(const ReadinessOptions& options, GatewayActor* gateway, const ModelFactsSource* facts,
            std::function<void(const absl::Status&)> on_change);
  ~Readiness();  // Stop

  void Start();
  void Stop();

  // OK where ready, else why not.
  absl::Status status() const;
  // Of a replica by which no token came when one was sent: why; "" of others.
  std::string Trouble(Incarnation replica) const;

 private:
  class Listener;
  // What listeners have heard, and outlives this for those that hear late.
  struct Ends {
    std::mutex mutex;
    std::vector<std::pair<uint64_t, absl::Status>> ended;
  };

  void Loop();
  void Look();
  void Send(const ReadinessJudge::Probe& probe);

  const ReadinessOptions options_;
  GatewayActor* const gateway_;
  const ModelFactsSource* const facts_;
  const std::function<void(const absl::Status&)> on_change_;
  const std::shared_ptr<Ends> ends_ = std::make_shared<Ends>();
  std::thread thread_;
  ReadinessJudge judge_;                  // the thread's
  std::map<uint64_t, uint64_t> tickets_;  // of probes that are on their way

  mutable std::mutex mutex_;  // of all below
  std::condition_variable wake_;
  bool stopped_ = false;
  absl::Status status_;
  std::map<Incarnation, std::string> troubles_;
};

}  // namespace catena
