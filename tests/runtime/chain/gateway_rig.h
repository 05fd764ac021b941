// A gateway's core whose stages do what a test says.
#pragma once

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/chain/gateway_core.h"
#include "tests/runtime/chain/six_replicas.h"

namespace catena {

inline constexpr Incarnation kSelf = 99;
inline constexpr int64_t kPrompt = 40;

struct Outcome : LoopListener {
  void OnStart(PublicId) override { ++starts; }
  void OnToken(const Token&) override { ++tokens; }
  void OnMoved(const Moved& m) override { moves.push_back(m); }
  void OnEnd(const absl::Status& s, FinishReason, const LoopStats& st) override {
    ended = true;
    status = s;
    stats = st;
  }
  int starts = 0, tokens = 0;
  bool ended = false;
  absl::Status status;
  LoopStats stats;
  std::vector<Moved> moves;
};

// A gateway whose stages do what a test says, which also says how far their work has come.
class GatewayRig : public ::testing::Test {
 protected:
  explicit GatewayRig(const GatewayCoreOptions& options = {.self = kSelf}) : core_(options) {
    Describe();
  }
  ReplicaInfo& replica(Incarnation i) { return replicas_[i - 1]; }
  void Keep(std::set<Incarnation> kept) {
    std::erase_if(replicas_,
                  [&](const ReplicaInfo& r) { return !kept.contains(r.replica.incarnation); });
    Describe();
  }
  void Describe() {
    core_.SetReplicas(replicas_, now_);
    Settle();
  }

  std::shared_ptr<Outcome> Submit(std::optional<Incarnation> through = {}) {
    auto outcome = std::make_shared<Outcome>();
    LoopRequest request;
    request.prompt.assign(kPrompt, 1);
    request.params.max_tokens = 5;
    request.through = through;
    core_.Submit(next_ticket_++, request, outcome, now_);
    Settle();
    return outcome;
  }
  // All stages open what they are asked to open.
  std::shared_ptr<Outcome> SubmitAndOpen() {
    auto outcome = Submit();
    OpenAll();
    return outcome;
  }
  void OpenAll() {
    for (const auto& [to, ask] : std::exchange(asked_, {})) {
      if (!silent_.contains(to)) {
        Receive(to, Opened{ask.key, {.epoch = ask.epoch, .round = round_[to]}, computed_[to]});
      }
    }
  }
  // Whom stages were asked to open something, since the last call.
  std::vector<Incarnation> Asked() {
    std::vector<Incarnation> to;
    for (const auto& ask : std::exchange(asked_, {})) to.push_back(ask.first);
    return to;
  }
  SequenceKey LastKey() const { return last_key_; }
  // Where the sequence that came first is.
  std::vector<std::string> RouteOfFirst() const {
    const SequenceSummary first = core_.Sequences(1, now_).at(0);
    std::vector<std::string> route;
    for (const SequenceSummary::Stage& stage : first.route) route.push_back(stage.address);
    return route;
  }
  SequenceSummary::State StateOfFirst() const { return core_.Sequences(1, now_).at(0).state; }
  // Messages of one kind that were sent since the last call, and to whom.
  template <class M>
  std::vector<std::pair<Incarnation, M>> Sent() {
    std::vector<std::pair<Incarnation, M>> sent;
    for (const Envelope& e : std::exchange(sent_, {})) {
      if (const auto* m = std::get_if<M>(&e.message)) sent.emplace_back(e.to, *m);
    }
    return sent;
  }

  void Receive(Incarnation from, ChainMessage message) {
    core_.Receive(from, Lane::kControl, std::move(message), now_);
    Settle();
  }
  void Say(Incarnation first_stage, int64_t length) {
    Receive(first_stage, Lengths{{{last_key_, {.epoch = epoch_, .round = 0}, length}}});
  }
  void SayToken(Incarnation head, int64_t position) {
    Receive(head, Tokens{{{last_key_,
                           {.epoch = epoch_, .round = 0},
                           position,
                           {.id = 1, .logprob = 0, .top = {}}}}});
  }

  // What is due is done.
  void Tick() {
    core_.Tick(now_);
    Settle();
  }
  // Seconds in which replicas of `working` make progress and all that are not silent answer.
  void Pass(int seconds, std::set<Incarnation> working = {}) {
    for (int i = 0; i < 2 * seconds; ++i) {
      now_ += std::chrono::milliseconds(500);
      core_.Tick(now_);
      Settle();
      OpenAll();
      if (i % 2 == 0) continue;
      for (const Incarnation w : working) ++replica(w).load.progress;
      Describe();
    }
  }

  void Settle() {
    const CoreOutput output = core_.TakeOutput();
    for (const Envelope& e : output.send) {
      sent_.push_back(e);
      // A heartbeat asks for lengths where a sequence is in doubt.
      if (const auto* beat = std::get_if<Heartbeat>(&e.message)) {
        for (const Heartbeat::Entry& entry : beat->open) {
          if (entry.tell) asked_.emplace_back(e.to, Ask{entry.sequence, entry.life.epoch});
        }
      }
      const auto* stage = std::get_if<OpenStage>(&e.message);
      const auto* head = std::get_if<OpenHead>(&e.message);
      if (stage == nullptr && head == nullptr) continue;
      if (head != nullptr) asked_head_ = *head;
      if (stage != nullptr) asked_stage_ = *stage;
      last_key_ = stage != nullptr ? stage->sequence : head->sequence;
      upstream_[e.to] = stage != nullptr ? stage->upstream : head->upstream;
      epoch_ = stage != nullptr ? stage->life.epoch : head->life.epoch;
      asked_.emplace_back(e.to, Ask{last_key_, epoch_});
    }
    for (const Replica& r : output.connect) connected_.push_back(r.incarnation);
    for (const LoopEvent& event : core_.TakeEvents()) Deliver(event);
  }

  GatewayCore core_;
  Instant now_{std::chrono::hours(1)};
  std::vector<ReplicaInfo> replicas_ = SixReplicas();
  std::map<Incarnation, int64_t> computed_;  // what each stage says when it is asked,
  std::map<Incarnation, uint32_t> round_;    // and in which round it is
  std::set<Incarnation> silent_;             // answer nothing
  uint64_t next_ticket_ = 1;
  struct Ask {
    SequenceKey key;
    uint32_t epoch = 0;
  };
  std::vector<std::pair<Incarnation, Ask>> asked_;
  std::vector<Envelope> sent_;
  uint32_t epoch_ = 0;  // that was asked for last
  std::map<Incarnation, Incarnation> upstream_;
  std::vector<Incarnation> connected_;
  SequenceKey last_key_;
  OpenHead asked_head_;    // what a head was asked last,
  OpenStage asked_stage_;  // and a shard
};

inline std::string Text(const absl::Status& status) { return std::string(status.message()); }

}  // namespace catena
