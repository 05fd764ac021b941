// What the token loop says of one sequence, handed over to the request's strand: the loop's thread
// only appends to a list. What comes while a hand-over waits goes with it.
//
// Thread rules: the listener's methods on the loop's thread; `take` runs on the strand.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/chain/token_loop.h"
#include "services/common/worker_pool.h"
#include "services/gateway/gateway_metrics.h"
#include "services/gateway/request_record.h"

namespace catena {

// Where the times between a sequence's tokens are counted, from when the request came.
struct TokenClock {
  GatewayMetrics* metrics = nullptr;  // null: nowhere
  LoopClock::time_point last;
  bool had_first = false;
};

class LoopInbox final : public LoopListener, public std::enable_shared_from_this<LoopInbox> {
 public:
  struct End {
    absl::Status status;
    FinishReason reason = FinishReason::kLength;
    LoopStats stats;
  };
  struct Events {
    std::optional<PublicId> started;
    std::vector<SampledToken> tokens;
    std::optional<End> end;
  };

  LoopInbox(std::shared_ptr<Strand> strand, std::function<void(Events)> take,
            const TokenClock& clock = {})
      : strand_(std::move(strand)), take_(std::move(take)), clock_(clock) {}

  void OnStart(PublicId sequence) override {
    Add([&](Events& e) { e.started = sequence; });
  }
  void OnToken(const Token& token) override {
    Count();
    Add([&](Events& e) { e.tokens.push_back(token.token); });
  }
  void OnMoved(const Moved& moved) override {
    if (clock_.metrics != nullptr) clock_.metrics->Moved(moved.moves);
    LogMoved(moved);
  }
  void OnEnd(const absl::Status& status, FinishReason reason, const LoopStats& stats) override {
    Add([&](Events& e) { e.end = End{status, reason, stats}; });
  }

 private:
  void Count() {
    if (clock_.metrics == nullptr) return;
    const LoopClock::time_point now = LoopClock::now();
    const auto since = now - std::exchange(clock_.last, now);
    std::exchange(clock_.had_first, true) ? clock_.metrics->NextToken(since)
                                          : clock_.metrics->FirstToken(since);
  }

  template <typename F>
  void Add(F add) {
    {
      std::lock_guard lock(mutex_);
      add(events_);
      if (std::exchange(posted_, true)) return;
    }
    strand_->Post([self = shared_from_this()] { self->Deliver(); });
  }

  void Deliver() {
    Events events;
    {
      std::lock_guard lock(mutex_);
      std::swap(events, events_);
      posted_ = false;
    }
    const bool last = events.end.has_value();
    take_(std::move(events));
    if (last) take_ = nullptr;  // which holds the request
  }

  const std::shared_ptr<Strand> strand_;
  std::function<void(Events)> take_;
  TokenClock clock_;  // the loop's thread's
  std::mutex mutex_;
  Events events_;
  bool posted_ = false;
};

}  // namespace catena
