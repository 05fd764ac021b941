#include "runtime/chain/gateway_core.h"

#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Incarnation kSelf = 1, kShard = 2, kHead = 3;
constexpr limits::DetectionLimits kDetection;

struct Outcome : LoopListener {
  void OnStart(PublicId given) override {
    started = true;
    id = given;
  }
  void OnToken(const Token&) override {}
  void OnEnd(const absl::Status& s, FinishReason, const LoopStats&) override {
    ended = true;
    status = s;
  }
  bool started = false, ended = false;
  PublicId id{};
  absl::Status status;
};

// A gateway with one shard and one head, which answer when the test says so.
class Gateway {
 public:
  explicit Gateway(GatewayCoreOptions options = {}) : core_(WithSelf(std::move(options))) {
    SetReplicas({kShard, kHead});
  }

  void SetReplicas(const std::vector<Incarnation>& present, int64_t context = 100) {
    std::vector<ReplicaInfo> replicas;
    for (const Incarnation i : present) {
      ReplicaInfo r;
      r.replica = {.address = "a", .incarnation = i};
      r.role = i == kShard ? Role::kShard : Role::kHead;
      r.layers = {0, i == kShard ? 1 : 0};
      r.model.name = "m";
      r.model.n_layers = 1;
      r.model.vocab_size = 10;
      r.model.context_length = context;
      r.load.kv_pages = 1;
      replicas.push_back(r);
    }
    core_.SetReplicas(replicas, now_);
    Settle();
  }

  std::shared_ptr<Outcome> Submit(int64_t prompt_length = 3,
                                  std::optional<Nanoseconds> deadline = {}) {
    auto outcome = std::make_shared<Outcome>();
    LoopRequest request;
    request.prompt.assign(static_cast<size_t>(prompt_length), 1);
    request.params.max_tokens = 5;
    if (deadline) request.deadline = now_ + *deadline;
    core_.Submit(next_ticket_++, request, outcome, now_);
    Settle();
    return outcome;
  }

  // The numbers of the sequences that the shard has been asked to open since the last call.
  std::vector<uint64_t> Asked() { return std::exchange(asked_, {}); }
  void Open(uint64_t number) {
    for (const Incarnation from : {kShard, kHead}) {
      Receive(from, Opened{Key(number), life_[number], 0});
    }
  }
  void Refuse(uint64_t number) {
    Receive(kShard, Refused{Key(number), life_[number], absl::ResourceExhaustedError("no pages")});
  }
  void Disconnect() {
    core_.Disconnected(kShard, absl::UnavailableError("broke"), now_);
    Settle();
  }
  void Pass(Nanoseconds time) {
    now_ += time;
    core_.Tick(now_);
    Settle();
  }
  std::optional<SequenceAtGateway> View(PublicId id) const { return core_.View(id); }
  // Whether the core asks to be woken at once.
  bool WantsWork() const { return core_.WakeAt() && *core_.WakeAt() <= now_; }

 private:
  static GatewayCoreOptions WithSelf(GatewayCoreOptions options) {
    options.self = kSelf;
    return options;
  }
  static SequenceKey Key(uint64_t number) { return {.gateway = kSelf, .number = number}; }
  void Receive(Incarnation from, ChainMessage message) {
    core_.Receive(from, Lane::kControl, std::move(message), now_);
    Settle();
  }
  void Settle() {
    for (const Envelope& e : core_.TakeOutput().send) {
      if (const auto* open = std::get_if<OpenStage>(&e.message)) {
        asked_.push_back(open->sequence.number);
        life_[open->sequence.number] = open->life;
      }
    }
    for (const LoopEvent& event : core_.TakeEvents()) Deliver(event);
  }

  GatewayCore core_;
  Instant now_{std::chrono::hours(1)};
  uint64_t next_ticket_ = 1;
  std::vector<uint64_t> asked_;
  std::map<uint64_t, Life> life_;  // in which each was asked for last
};

TEST(GatewayCore, SleepsWhileAsManyAreOpenedAsMayBe) {
  Gateway gateway;
  for (int i = 0; i < 40; ++i) gateway.Submit();
  EXPECT_EQ(gateway.Asked().size(), 32u);
  gateway.Pass(milliseconds(1));
  EXPECT_FALSE(gateway.WantsWork());
  gateway.Open(1);
  EXPECT_THAT(gateway.Asked(), ElementsAre(33));
}

TEST(GatewayCore, WhatWasRefusedIsOpenedAloneAndFirst) {
  Gateway gateway;
  gateway.Submit();
  gateway.Submit();
  EXPECT_THAT(gateway.Asked(), ElementsAre(1, 2));
  gateway.Refuse(1);
  gateway.Submit();
  EXPECT_THAT(gateway.Asked(), IsEmpty());
  gateway.Pass(milliseconds(200));  // past the pause
  EXPECT_THAT(gateway.Asked(), IsEmpty());
  gateway.Open(2);
  EXPECT_THAT(gateway.Asked(), ElementsAre(1));
  gateway.Open(1);
  EXPECT_THAT(gateway.Asked(), ElementsAre(3));
}

TEST(GatewayCore, APromptThatNoLongerFitsTheContextEnds) {
  Gateway gateway;
  const auto first = gateway.Submit(50);
  gateway.Refuse(1);
  gateway.SetReplicas({kShard, kHead}, 20);
  gateway.Pass(milliseconds(200));
  EXPECT_TRUE(absl::IsInvalidArgument(first->status)) << first->status;
}

TEST(GatewayCore, AWaitThatWasIdleIsNotExpectedOfOthers) {
  Gateway gateway;
  gateway.Submit();
  gateway.Open(1);
  gateway.Pass(std::chrono::seconds(30));
  for (int i = 0; i < 40; ++i) gateway.Submit();
  gateway.Open(2);
  EXPECT_FALSE(gateway.Submit(3, std::chrono::seconds(20))->ended);
}

TEST(GatewayCore, ClientsKnowASequenceByANumberThatWasDrawn) {
  const std::vector<uint64_t> draws = {77, 77, 5};  // one is taken already
  size_t drawn = 0;
  Gateway gateway({.draw_id = [&] { return PublicId{draws.at(drawn++)}; }});
  const auto first = gateway.Submit(), second = gateway.Submit();
  gateway.Open(1);
  gateway.Open(2);
  EXPECT_EQ(first->id, PublicId{77});
  EXPECT_EQ(second->id, PublicId{5});
  EXPECT_EQ(gateway.View(PublicId{5})->key.number, 2u);
  EXPECT_FALSE(gateway.View(PublicId{2}));
  gateway.Disconnect();
  EXPECT_TRUE(gateway.View(PublicId{5})) << "it waits for another stage";
}

TEST(PublicId, IsReadAsItIsWritten) {
  EXPECT_EQ(ToString(PublicId{0x1f3a}), "0000000000001f3a");
  EXPECT_EQ(*ParsePublicId("fedcba9876543210"), PublicId{0xfedcba9876543210});
  for (const char* wrong : {"", "1f3a", "0000000000001f3a0", "000000000000-f3a", "1f3a-12"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParsePublicId(wrong).status())) << wrong;
  }
  EXPECT_NE(DrawPublicId(), DrawPublicId());
}

TEST(GatewayCore, ADeadlineThatHasPassedIsCalledThat) {
  Gateway gateway;
  const auto outcome = gateway.Submit(3, Nanoseconds(0));
  EXPECT_TRUE(absl::IsDeadlineExceeded(outcome->status)) << outcome->status;
}

TEST(GatewayCore, WhatNeedsAReplicaThatIsMissingForLongWaitsForAnother) {
  Gateway gateway;
  const auto outcome = gateway.Submit();
  gateway.Open(1);
  gateway.SetReplicas({kHead});
  gateway.Pass(kDetection.no_progress - milliseconds(1));
  EXPECT_FALSE(outcome->ended);
  gateway.Pass(kDetection.heartbeat);
  gateway.Pass(kDetection.wait_for_route - milliseconds(1));
  EXPECT_FALSE(outcome->ended);
  gateway.Pass(milliseconds(1));
  EXPECT_TRUE(absl::IsUnavailable(outcome->status)) << outcome->status;
  EXPECT_THAT(std::string(outcome->status.message()), HasSubstr("no shard"));
}

TEST(GatewayCore, AReplicaThatComesBackIsNotHeldToItsAbsence) {
  Gateway gateway;
  const auto outcome = gateway.Submit();
  gateway.Open(1);
  gateway.SetReplicas({kHead});
  gateway.Pass(kDetection.no_progress - milliseconds(1));
  gateway.SetReplicas({kShard, kHead});
  gateway.Pass(kDetection.no_progress - milliseconds(1));
  EXPECT_FALSE(outcome->ended);
}

TEST(GatewayCore, ALinkThatBreaksEachTimeEndsTheRequest) {
  Gateway gateway;
  const auto outcome = gateway.Submit();
  for (int i = 0; i < 400 && !outcome->ended; ++i) {
    gateway.Disconnect();
    gateway.SetReplicas({kShard, kHead});
    gateway.Pass(milliseconds(200));
  }
  EXPECT_TRUE(absl::IsUnavailable(outcome->status)) << outcome->status;
}

// They came while there was one: a stage that starts again is back soon.
TEST(GatewayCore, RequestsWaitForARouteThatWasThereAMomentAgo) {
  Gateway gateway;
  gateway.SetReplicas({kHead});
  const auto outcome = gateway.Submit();
  gateway.Pass(seconds(5));
  EXPECT_FALSE(outcome->ended) << outcome->status;
  EXPECT_FALSE(gateway.WantsWork()) << "it waits, and does nothing else";
  gateway.SetReplicas({kShard, kHead});
  EXPECT_THAT(gateway.Asked(), ElementsAre(1));
}

TEST(GatewayCore, ARouteThatIsGoneForLongIsNotWaitedFor) {
  Gateway gateway;
  gateway.SetReplicas({kHead});
  const auto waits = gateway.Submit();
  gateway.Pass(kDetection.wait_for_route);
  EXPECT_TRUE(absl::IsUnavailable(waits->status)) << waits->status;
  EXPECT_TRUE(absl::IsUnavailable(gateway.Submit()->status)) << "refused at the door";
}

}  // namespace
}  // namespace catena
