// A token loop that does what a test says.
//
// Thread rules: any thread; the Await functions block, for kPatience at most.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

#include <gtest/gtest.h>

#include "runtime/chain/token_loop.h"

namespace catena {

// Far more than anything takes; a test that waits so long has failed.
inline constexpr std::chrono::seconds kPatience{20};

class FakeTokenLoop final : public TokenLoop {
 public:
  struct Submitted {
    uint64_t ticket = 0;
    LoopRequest request;
    std::shared_ptr<LoopListener> listener;
    bool ended = false, cancelled = false;
  };

  uint64_t Submit(LoopRequest request, std::shared_ptr<LoopListener> listener) override {
    std::lock_guard lock(mutex_);
    const uint64_t ticket = next_ticket_++;
    sequences_[ticket] = {ticket, std::move(request), std::move(listener)};
    changed_.notify_all();
    return ticket;
  }

  void Cancel(uint64_t ticket) override {
    std::lock_guard lock(mutex_);
    sequences_.at(ticket).cancelled = true;
    EndLocked(ticket, FinishReason::kStop, absl::CancelledError("cancelled"));
    changed_.notify_all();
  }

  // The request of the n-th sequence that was submitted, from 0 on.
  LoopRequest Await(uint64_t n) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return sequences_.count(n + 1) > 0; }));
    return sequences_[n + 1].request;
  }
  void AwaitCancel(uint64_t n) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return sequences_[n + 1].cancelled; }));
  }
  bool cancelled(uint64_t n) {
    std::lock_guard lock(mutex_);
    return sequences_[n + 1].cancelled;
  }
  size_t submitted() {
    std::lock_guard lock(mutex_);
    return sequences_.size();
  }

  // What the loop says of the n-th sequence; nothing of one that has ended.
  void Start(uint64_t n) {
    std::lock_guard lock(mutex_);
    if (LoopListener* l = Listener(n + 1)) l->OnStart(PublicId{n + 1});
  }
  void Say(uint64_t n, const SampledToken& token) {
    std::lock_guard lock(mutex_);
    if (LoopListener* l = Listener(n + 1)) {
      l->OnToken({.sequence = {}, .life = {}, .position = 0, .token = token});
    }
  }
  void SayIds(uint64_t n, const std::vector<int32_t>& ids) {
    for (const int32_t id : ids) Say(n, SampledToken{.id = id, .logprob = 0, .top = {}});
  }
  void End(uint64_t n, FinishReason reason, const absl::Status& status = absl::OkStatus()) {
    std::lock_guard lock(mutex_);
    EndLocked(n + 1, reason, status);
  }

  static constexpr LoopStats stats_{.queue = std::chrono::nanoseconds(1),
                                    .prefill = std::chrono::nanoseconds(2),
                                    .decode = std::chrono::nanoseconds(3),
                                    .drafted = 4,
                                    .accepted = 5};

 private:
  // Listeners are called under the lock, one at a time as by one thread, and OnEnd is the last.
  LoopListener* Listener(uint64_t ticket) {
    const Submitted& s = sequences_[ticket];
    return s.ended ? nullptr : s.listener.get();
  }
  void EndLocked(uint64_t ticket, FinishReason reason, const absl::Status& status) {
    Submitted& s = sequences_[ticket];
    if (std::exchange(s.ended, true)) return;
    std::exchange(s.listener, nullptr)->OnEnd(status, reason, stats_);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, Submitted> sequences_;  // by ticket, from 1 on
  uint64_t next_ticket_ = 1;
};

}  // namespace catena
