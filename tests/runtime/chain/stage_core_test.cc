#include "runtime/chain/stage_core.h"

#include <string>

#include <gtest/gtest.h>

#include "runtime/chain/error_facts.h"
#include "tests/runtime/chain/endless_memory.h"

namespace catena {
namespace {

using std::chrono::milliseconds;

constexpr Incarnation kGateway = 1, kNext = 2;
constexpr int64_t kRowBytes = 4;
constexpr milliseconds kTrip{10};  // round the route

// A first stage and what a gateway sends it. Each sequence has a prompt of one id.
class FirstStage {
 public:
  FirstStage()
      : core_({.first = true,
               .row_bytes = kRowBytes,
               .vocab_size = 10,
               .max_positions = 100,
               .journal_bytes = 1 << 20},
              &memory_) {}

  void Open(uint64_t number, int32_t decode_groups, int64_t prompt_length = 1, Life life = {},
            int64_t trial_end = 0) {
    Receive(OpenStage{.sequence = Key(number),
                      .life = life,
                      .upstream = kGateway,
                      .next = {.address = "next", .incarnation = kNext},
                      .prompt_length = prompt_length,
                      .max_length = 100,
                      .window_rows = 100,
                      .decode_groups = decode_groups,
                      .trial_end = trial_end});
  }
  // Opens one that may be what makes stages fail, until it has a token behind its prompt.
  void Suspect(uint64_t number, uint32_t epoch = 0) {
    Open(number, 1, 1, {.epoch = epoch, .round = 0}, 1);
  }
  void ReachNext() { core_.Connected(kNext, now_); }
  void SendId(uint64_t number, int64_t position) {
    Steps steps;
    steps.steps.push_back(
        {.sequence = Key(number), .life = {}, .position = position, .ids = {3}, .row_hashes = {}});
    Receive(std::move(steps));
  }
  void Close(uint64_t number) { Receive(catena::Close{Key(number)}); }

  // Begins a batch now; how many sequences it has, 0 where there is none.
  size_t Begin() {
    core_.Tick(now_);
    const StageBatch* batch = core_.NextBatch(now_);
    if (batch == nullptr) return 0;
    rows_ = batch->rows();
    return batch->spans.size();
  }
  // REQUIRES: a batch has begun.
  void Finish() {
    core_.Complete(std::string(static_cast<size_t>(rows_ * kRowBytes), 'x').data(), now_);
    core_.TakeOutput();
  }
  // Both.
  size_t Run() {
    const size_t n = Begin();
    if (n > 0) Finish();
    return n;
  }

  // `count` sequences that decode, all away; the first trip has taught how long one takes.
  void StartDecoding(uint64_t count, int32_t decode_groups) {
    for (uint64_t n = 1; n <= count; ++n) {
      Open(n, decode_groups);
      SendId(n, 0);
      EXPECT_EQ(Run(), 1u);
    }
    Pass(kTrip);
    for (uint64_t n = 1; n <= count; ++n) SendId(n, 1);
    while (Run() > 0) {
    }
  }

  void Pass(milliseconds time) { now_ += time; }
  void LoseNext(const absl::Status& why) { core_.Disconnected(kNext, why, now_); }
  // The sequences that it has ended since its last output was taken.
  std::vector<Refused> Ended() {
    core_.Tick(now_);
    return Sent<Refused>();
  }
  // What it has sent since its last output was taken, of this kind.
  template <class M>
  std::vector<M> Sent() {
    std::vector<M> sent;
    for (Envelope& e : core_.TakeOutput().send) {
      if (auto* m = std::get_if<M>(&e.message)) sent.push_back(*m);
    }
    return sent;
  }
  StageCore& core() { return core_; }
  Instant now() const { return now_; }
  // Whether the core asks to be woken at once.
  bool WantsWork() const { return core_.WakeAt() && *core_.WakeAt() <= now_; }

 private:
  static SequenceKey Key(uint64_t number) { return {.gateway = kGateway, .number = number}; }
  void Receive(ChainMessage message) {
    core_.Receive(kGateway, Lane::kDecode, std::move(message), now_);
  }

  EndlessMemory memory_;
  StageCore core_;
  Instant now_{std::chrono::hours(1)};
  int64_t rows_ = 0;  // of the batch that runs
};

TEST(StageCore, ADecodeThatIsBackWaitsForThoseThatSoonWillBe) {
  FirstStage stage;
  stage.StartDecoding(3, 1);
  stage.Pass(kTrip - milliseconds(2));
  stage.SendId(1, 2);
  EXPECT_EQ(stage.Run(), 0u);
  stage.Pass(milliseconds(1));
  stage.SendId(2, 2);
  EXPECT_EQ(stage.Run(), 0u);
  stage.SendId(3, 2);
  EXPECT_EQ(stage.Run(), 3u);
}

TEST(StageCore, ADecodeDoesNotWaitLongerThanATripTakes) {
  FirstStage stage;
  stage.StartDecoding(2, 1);
  stage.Pass(kTrip);
  stage.SendId(1, 2);
  EXPECT_EQ(stage.Run(), 0u);
  EXPECT_FALSE(stage.WantsWork());
  stage.Pass(kTrip);  // the other one is lost, or slow
  EXPECT_TRUE(stage.WantsWork());
  EXPECT_EQ(stage.Run(), 1u);
}

// Else two halves would take turns for ever, where batches take longer than the way back.
TEST(StageCore, ADecodeThatCameDuringABatchWaitsForThoseInIt) {
  FirstStage stage;
  stage.StartDecoding(2, 1);
  stage.Pass(kTrip);
  stage.SendId(1, 2);
  stage.Pass(2 * kTrip);
  EXPECT_EQ(stage.Begin(), 1u);
  stage.SendId(2, 2);
  stage.Pass(4 * kTrip);
  stage.Finish();
  EXPECT_EQ(stage.Run(), 0u);
  stage.Pass(kTrip);
  stage.SendId(1, 3);
  EXPECT_EQ(stage.Run(), 2u);
}

TEST(StageCore, ASequenceThatEndedIsNotWaitedFor) {
  FirstStage stage;
  stage.StartDecoding(2, 1);
  stage.Pass(kTrip);
  stage.SendId(1, 2);
  EXPECT_EQ(stage.Run(), 0u);
  stage.Close(2);
  EXPECT_EQ(stage.Run(), 1u);
}

TEST(StageCore, APromptDoesNotWaitForDecodes) {
  FirstStage stage;
  stage.StartDecoding(2, 1);
  stage.Pass(kTrip);
  stage.SendId(1, 2);
  stage.Open(3, 1);
  stage.SendId(3, 0);
  EXPECT_EQ(stage.Run(), 1u);
}

TEST(StageCore, WithAGroupForEachDeviceNoneWaits) {
  FirstStage stage;
  stage.StartDecoding(2, 2);
  stage.Pass(kTrip);
  stage.SendId(1, 2);
  EXPECT_EQ(stage.Run(), 1u);
}

// --- edges ---

constexpr milliseconds kLong{60'000};
constexpr milliseconds kBeat = limits::DetectionLimits().heartbeat;

TEST(StageCore, AnOpenIsAnsweredWhenTheNextStageCanBeReached) {
  FirstStage stage;
  stage.Open(1, 1);
  EXPECT_TRUE(stage.Sent<Opened>().empty());
  stage.ReachNext();
  EXPECT_EQ(stage.Sent<Opened>().size(), 1u);
  stage.Open(1, 1);  // the answer may have been lost
  EXPECT_EQ(stage.Sent<Opened>().size(), 1u);
  stage.Open(2, 1);
  EXPECT_EQ(stage.Sent<Opened>().size(), 1u);
}

TEST(StageCore, AnOpenIsRefusedAtOnceWhereTheNextStageCannotBeReached) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.LoseNext(absl::UnavailableError("refused"));
  std::vector<Refused> refused = stage.Sent<Refused>();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(refused[0].status)) << refused[0].status;
  EXPECT_FALSE(refused[0].draining);
  // And while it is known to be so, the next one, which names the edge.
  stage.Pass(kLong / 2);
  stage.Open(2, 1);
  refused = stage.Sent<Refused>();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].status.message(), "its link to next is broken: refused");
  EXPECT_EQ(stage.core().load(stage.now()).sequences, 1) << "it is the gateway's to close";
}

TEST(StageCore, ALinkThatStaysBrokenEndsNothingAndIsTriedAgain) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.ReachNext();
  stage.LoseNext(absl::UnavailableError("broke"));
  stage.core().TakeOutput();
  stage.Pass(kBeat);
  stage.core().Tick(stage.now());
  const CoreOutput output = stage.core().TakeOutput();
  ASSERT_EQ(output.connect.size(), 1u) << "the transport may have given it up";
  EXPECT_EQ(output.connect[0].incarnation, kNext);
  EXPECT_EQ(stage.core().load(stage.now()).sequences, 1);
}

// Whoever hears that it is broken opens nothing here, and so would never find out that it heals.
TEST(StageCore, ALinkThatIsSaidToBeBrokenIsTriedAgainThoughNothingIsOpen) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.ReachNext();
  stage.Close(1);
  stage.LoseNext(absl::UnavailableError("broke"));
  stage.core().Tick(stage.now());
  stage.core().TakeOutput();
  stage.Pass(kBeat);
  ASSERT_TRUE(stage.core().WakeAt());
  EXPECT_LE(*stage.core().WakeAt(), stage.now());
  stage.core().Tick(stage.now());
  const CoreOutput output = stage.core().TakeOutput();
  ASSERT_EQ(output.connect.size(), 1u);
  EXPECT_EQ(output.connect[0], (Replica{.address = "next", .incarnation = kNext}));
}

TEST(StageCore, AnotherProcessInThePlaceOfTheNextIsNotTriedAgain) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.ReachNext();
  stage.LoseNext(absl::UnavailableError("broke"));
  stage.LoseNext(absl::FailedPreconditionError("another process is there now"));
  stage.core().TakeOutput();
  stage.Pass(kBeat);
  stage.core().Tick(stage.now());
  EXPECT_TRUE(stage.core().TakeOutput().connect.empty());
}

// What may make stages fail is tried alone, whoever opened it.
TEST(StageCore, OneSuspectAtATimeIsHere) {
  FirstStage stage;
  stage.ReachNext();
  stage.Suspect(1);
  stage.Open(2, 1);
  EXPECT_TRUE(stage.Sent<Refused>().empty()) << "who is not suspected may be here too";
  stage.Suspect(3);
  std::vector<Refused> refused = stage.Sent<Refused>();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].sequence.number, 3u);
  EXPECT_EQ(ReasonOf(refused[0].status), ErrorReason::kAwaitsTrial);
  stage.Suspect(2, 1);  // one that is here already
  EXPECT_EQ(stage.Sent<Refused>().size(), 1u);
  stage.Close(1);
  stage.Suspect(3);
  EXPECT_TRUE(stage.Sent<Refused>().empty());
}

TEST(StageCore, WhatIsClosedWhileItRunsIsTriedUntilItHasRun) {
  FirstStage stage;
  stage.ReachNext();
  stage.Suspect(1);
  stage.SendId(1, 0);
  ASSERT_EQ(stage.Begin(), 1u);
  stage.Close(1);
  stage.Suspect(2);
  EXPECT_EQ(stage.Sent<Refused>().size(), 1u);
  stage.Finish();
  stage.Suspect(2);
  EXPECT_TRUE(stage.Sent<Refused>().empty());
}

TEST(StageCore, ANewTokenEndsATrial) {
  FirstStage stage;
  stage.ReachNext();
  stage.Suspect(1);
  stage.SendId(1, 0);
  stage.Suspect(2);
  EXPECT_EQ(stage.Sent<Refused>().size(), 1u) << "it has what it came with, and no more";
  stage.SendId(1, 1);
  stage.Suspect(2);
  EXPECT_TRUE(stage.Sent<Refused>().empty());
}

TEST(StageCore, WhoComesBackUnsuspectedIsTriedNoMore) {
  FirstStage stage;
  stage.ReachNext();
  stage.Suspect(1);
  stage.Open(1, 1, 1, {.epoch = 1, .round = 0});
  stage.Suspect(2);
  EXPECT_TRUE(stage.Sent<Refused>().empty());
}

TEST(StageCore, ALinkThatIsMadeAgainEndsNothing) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.ReachNext();
  stage.LoseNext(absl::UnavailableError("broke"));
  stage.Pass(milliseconds(1));
  stage.ReachNext();
  stage.Pass(kLong + kBeat);
  for (const Refused& r : stage.Ended()) ADD_FAILURE() << r.status;
}

// Nothing is open while the link heals, so nothing makes the stage look at the time.
TEST(StageCore, ALinkThatHealedLongAgoDoesNotEndTheFirstThatUsesIt) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.ReachNext();
  stage.Close(1);
  stage.LoseNext(absl::UnavailableError("broke"));
  stage.Pass(milliseconds(100));
  stage.ReachNext();
  stage.Pass(kLong + milliseconds(6'000));
  stage.Open(2, 1);
  stage.Pass(kBeat);
  for (const Refused& r : stage.Ended()) ADD_FAILURE() << r.status;
}

TEST(StageCore, GatewaysHearOfEachChangeOfItsEdges) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.ReachNext();
  EXPECT_TRUE(stage.Sent<Condition>().empty());
  stage.LoseNext(absl::UnavailableError("broke"));
  std::vector<Condition> edges = stage.Sent<Condition>();
  ASSERT_EQ(edges.size(), 1u);
  ASSERT_EQ(edges[0].broken.size(), 1u);
  EXPECT_EQ(edges[0].broken[0].to, kNext);
  EXPECT_EQ(stage.core().broken_edges().size(), 1u);
  stage.ReachNext();
  edges = stage.Sent<Condition>();
  ASSERT_EQ(edges.size(), 1u);
  EXPECT_TRUE(edges[0].broken.empty());
  EXPECT_TRUE(stage.core().broken_edges().empty());
}

TEST(StageCore, WhatNobodyWantsIsForgotten) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.ReachNext();
  stage.Close(1);
  stage.LoseNext(absl::UnavailableError("it is gone"));
  stage.core().Disconnected(77, absl::UnavailableError("some client"), stage.now());
  EXPECT_EQ(stage.core().broken_edges().size(), 1u);
  ASSERT_TRUE(stage.core().WakeAt());
  stage.Pass(limits::DetectionLimits{}.give_up + kBeat);
  EXPECT_LE(*stage.core().WakeAt(), stage.now());
  stage.core().Tick(stage.now());
  EXPECT_TRUE(stage.core().broken_edges().empty());
  EXPECT_FALSE(stage.core().WakeAt());  // it holds nothing, and sleeps
}

// --- the end ---

TEST(StageCore, AStageThatDrainsTakesNothingNewAndEndsTheRestWhenTold) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.ReachNext();
  stage.core().Drain();
  EXPECT_TRUE(stage.core().draining());
  const std::vector<Condition> told = stage.Sent<Condition>();
  ASSERT_EQ(told.size(), 1u) << "what it has had better leave";
  EXPECT_TRUE(told[0].draining);
  stage.Open(2, 1);
  std::vector<Refused> refused = stage.Sent<Refused>();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].sequence.number, 2u);
  EXPECT_TRUE(absl::IsUnavailable(refused[0].status));
  EXPECT_TRUE(refused[0].draining);
  stage.Open(1, 1);  // asked again about an old one
  EXPECT_EQ(stage.Sent<Opened>().size(), 1u);
  stage.SendId(1, 0);
  EXPECT_EQ(stage.Run(), 1u);
  stage.core().EndAll(absl::UnavailableError("it stops"));
  refused = stage.Sent<Refused>();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].sequence.number, 1u);
  EXPECT_TRUE(refused[0].draining);
  EXPECT_EQ(stage.core().load(stage.now()).sequences, 0);
}

// --- batches ---

TEST(StageCore, ASlowBackendGetsSmallBatches) {
  FirstStage stage;
  stage.Open(1, 1, 90);
  for (int64_t p = 0; p < 90; ++p) stage.SendId(1, p);
  // A row takes 400 ms.
  std::vector<int64_t> sizes;
  while (const StageBatch* batch = stage.core().NextBatch(stage.now())) {
    const int64_t rows = batch->rows();
    sizes.push_back(rows);
    stage.Pass(milliseconds(400) * rows);
    EXPECT_GE(stage.core().load(stage.now()).oldest_step_ns, 1);
    stage.core().Complete(std::string(static_cast<size_t>(rows * kRowBytes), 'x').data(),
                          stage.now());
  }
  for (const int64_t rows : sizes) EXPECT_LE(rows, 2);
  EXPECT_EQ(stage.core().load(stage.now()).oldest_step_ns, 0);
}

TEST(StageCore, APromptGoesOnWhereDecodesAloneWouldFillEveryBatch) {
  FirstStage stage;
  stage.StartDecoding(3, 1);
  stage.Open(9, 1, 50);
  stage.ReachNext();
  for (int64_t p = 0; p < 50; ++p) stage.SendId(9, p);
  // A row takes a second, so there is room for one a batch, and the decodes are always back.
  for (int batch = 0; batch < 40; ++batch) {
    for (uint64_t n = 1; n <= 3; ++n) {
      const SequenceView view = *stage.core().View({kGateway, n});
      if (view.queued_end == view.length) stage.SendId(n, view.length);
    }
    const StageBatch* running = stage.core().NextBatch(stage.now());
    ASSERT_NE(running, nullptr);
    stage.Pass(milliseconds(1000) * running->rows());
    const auto bytes = static_cast<size_t>(running->rows() * kRowBytes);
    stage.core().Complete(std::string(bytes, 'x').data(), stage.now());
  }
  EXPECT_GT(stage.core().View({kGateway, 9})->length, 10);
  for (uint64_t n = 1; n <= 3; ++n) EXPECT_GT(stage.core().View({kGateway, n})->length, 5);
}

}  // namespace
}  // namespace catena
