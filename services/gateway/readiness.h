// Whether the cluster can serve: there is a complete route, a tokenizer, and a token has gone all
// the way round. It tells the health service, the log and `catena status`.
//
// Thread rules: Start and Stop by the owner; the rest from any thread. It has a thread of its own.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "runtime/actor/gateway_actor.h"
#include "services/gateway/model_facts.h"

namespace catena {

struct ReadinessOptions {
  std::chrono::milliseconds look_every{100};
  std::chrono::milliseconds token_every{10'000};  // while nothing else runs
  std::chrono::milliseconds token_timeout{10'000};
};

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

 private:
  class Listener;
  using Clock = std::chrono::steady_clock;

  void Loop();
  absl::Status Look();
  // Sends one token through the chain, and waits for it.
  absl::Status SendToken(const ModelFacts& facts);

  const ReadinessOptions options_;
  GatewayActor* const gateway_;
  const ModelFactsSource* const facts_;
  const std::function<void(const absl::Status&)> on_change_;
  std::thread thread_;
  Clock::time_point token_at_{};  // when the next is due

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  absl::Status status_ = absl::UnavailableError("it is starting");
};

}  // namespace catena
