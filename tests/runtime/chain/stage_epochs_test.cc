// A stage in the middle of a Move: what it keeps, when it sends on, and from where.
#include <string>

#include <gtest/gtest.h>

#include "runtime/chain/stage_core.h"
#include "tests/runtime/chain/endless_memory.h"

namespace catena {
namespace {

using std::chrono::milliseconds;

constexpr Incarnation kGateway = 1, kOld = 2, kNew = 3;
constexpr int64_t kRowBytes = 4;
const SequenceKey kKey{.gateway = kGateway, .number = 7};

// The first stage of a route, whose next stage is kOld, and after a Move kNew.
class StageEpochs : public ::testing::Test {
 protected:
  void SetUp() override {
    Open(0, kOld);
    core_.Connected(kOld, now_);
    core_.Connected(kNew, now_);
  }
  void Receive(Incarnation from, ChainMessage message) {
    core_.Receive(from, Lane::kDecode, std::move(message), now_);
  }
  void Open(uint32_t epoch, Incarnation next) {
    Receive(kGateway, OpenStage{.sequence = kKey,
                                .life = {.epoch = epoch, .round = 0},
                                .upstream = kGateway,
                                .next = {.address = "next", .incarnation = next},
                                .prompt_length = 2,
                                .max_length = 100,
                                .window_rows = 100,
                                .decode_groups = 1});
  }
  void SendIds(uint32_t epoch, int64_t position, std::vector<int32_t> ids) {
    Steps steps;
    steps.steps.push_back({.sequence = kKey,
                           .life = {.epoch = epoch, .round = 0},
                           .position = position,
                           .ids = std::move(ids),
                           .row_hashes = {}});
    Receive(kGateway, std::move(steps));
  }
  void SayGo(uint32_t epoch, int64_t length, int64_t next_length, uint32_t round = 0) {
    Receive(kGateway, Go{.sequence = kKey,
                         .life = {.epoch = epoch, .round = round},
                         .length = length,
                         .next_length = next_length});
  }
  const StageBatch* Start() { return core_.NextBatch(now_ += milliseconds(100)); }
  void Finish(const StageBatch* batch) {
    core_.Complete(std::string(static_cast<size_t>(batch->rows() * kRowBytes), 'x').data(), now_);
  }
  void Run() {
    while (const StageBatch* batch = Start()) Finish(batch);
  }
  // Messages of one kind that were sent since the last call; all others are dropped.
  template <class M>
  std::vector<M> Sent() {
    std::vector<M> sent;
    for (Envelope& e : core_.TakeOutput().send) {
      if (auto* m = std::get_if<M>(&e.message)) {
        sent.push_back(std::move(*m));
        to_ = e.to;
      }
    }
    return sent;
  }

  EndlessMemory memory_;
  StageCore core_{{.first = true,
                   .row_bytes = kRowBytes,
                   .vocab_size = 10,
                   .max_positions = 100,
                   .journal_bytes = 1 << 20},
                  &memory_};
  Instant now_{std::chrono::hours(1)};
  Incarnation to_ = 0;  // of what was sent last
};

TEST_F(StageEpochs, WhatIsComputedStaysAndNothingGoesOnUntilGo) {
  SendIds(0, 0, {1, 2, 3});
  Run();
  Sent<Steps>();
  Open(1, kNew);
  const std::vector<Opened> opened = Sent<Opened>();
  ASSERT_EQ(opened.size(), 1u);
  EXPECT_EQ(opened[0].life.epoch, 1u);
  EXPECT_EQ(opened[0].length, 3);
  EXPECT_TRUE(opened[0].waits);
  SendIds(1, 3, {4});
  Run();
  EXPECT_TRUE(Sent<Steps>().empty());
  SayGo(1, 3, 1);
  const std::vector<Steps> steps = Sent<Steps>();
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(to_, kNew);
  EXPECT_EQ(steps[0].steps[0].position, 1)
      << "from where the next stage stands, out of the journal";
  EXPECT_EQ(steps[0].steps[0].rows(), 3);
  EXPECT_EQ(steps[0].steps[0].life.epoch, 1u);
}

TEST_F(StageEpochs, StepsOfTheOldRouteAreDropped) {
  Open(1, kNew);
  SendIds(0, 0, {1, 2, 3});
  EXPECT_EQ(Start(), nullptr);
}

TEST_F(StageEpochs, WhatWasQueuedComesAgain) {
  SendIds(0, 0, {1, 2});
  Open(1, kNew);
  EXPECT_EQ(Start(), nullptr);
  SendIds(1, 0, {1, 2});
  Run();
  EXPECT_EQ(core_.View(kKey)->length, 2);
}

TEST_F(StageEpochs, ABatchThatRunsMeanwhileCounts) {
  SendIds(0, 0, {1});
  const StageBatch* batch = Start();
  ASSERT_NE(batch, nullptr);
  Open(1, kNew);
  Finish(batch);
  EXPECT_EQ(core_.View(kKey)->length, 1);
  SayGo(1, 0, 0);
  const std::vector<Steps> steps = Sent<Steps>();
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].steps[0].rows(), 1);
}

TEST_F(StageEpochs, AnOlderEpochAndAnOlderGoMeanNothing) {
  Open(2, kNew);
  Sent<Opened>();
  Open(1, kOld);
  SayGo(1, 0, 0);
  SendIds(2, 0, {1});
  Run();
  EXPECT_TRUE(Sent<Steps>().empty());
  SayGo(2, 0, 0);
  EXPECT_EQ(Sent<Steps>().size(), 1u);
  EXPECT_EQ(to_, kNew);
}

// Otherwise it would rewind the sender each time that it is said again.
TEST_F(StageEpochs, GoIsHeardOnce) {
  Open(1, kNew);
  SendIds(1, 0, {1});
  SayGo(1, 0, 0);
  Run();
  EXPECT_EQ(Sent<Steps>().size(), 1u);
  SayGo(1, 0, 0);
  EXPECT_TRUE(Sent<Steps>().empty());
}

TEST_F(StageEpochs, WhoWaitsForGoSaysSoWhenItIsNamed) {
  Open(1, kNew);
  Sent<Opened>();
  const Heartbeat beat{.newest = 9, .open = {{.sequence = kKey, .life = {.epoch = 1, .round = 0}}}};
  Receive(kGateway, beat);
  EXPECT_EQ(Sent<Opened>().size(), 1u);
  SayGo(1, 0, 0);
  Receive(kGateway, beat);
  EXPECT_TRUE(Sent<Opened>().empty());
}

TEST_F(StageEpochs, WhatIsNamedAndNotOpenIsUnknown) {
  const Life life{.epoch = 4, .round = 2};
  Receive(kGateway, Heartbeat{.newest = 7, .open = {{.sequence = {kGateway, 3}, .life = life}}});
  const std::vector<Unknown> unknown = Sent<Unknown>();
  ASSERT_EQ(unknown.size(), 1u);
  EXPECT_EQ(unknown[0].sequence.number, 3u);
  EXPECT_EQ(unknown[0].life, life) << "so that one of an older life starts no Move";
}

// The next stage is new, and counts its questions from 1 again.
TEST_F(StageEpochs, QuestionsOfANewReceiverAreHeard) {
  SendIds(0, 0, {1, 2, 3});
  Run();
  for (uint64_t n = 1; n <= 3; ++n) Receive(kOld, NeedFrom{kKey, {}, n, 0});
  Open(1, kNew);
  SayGo(1, 3, 3);
  Sent<Steps>();
  Receive(kNew, NeedFrom{kKey, {.epoch = 1, .round = 0}, 1, 0});
  ASSERT_EQ(Sent<Steps>().size(), 1u);
}

// It has lost what it had when it was asked.
TEST_F(StageEpochs, AQuestionBeforeGoIsAnsweredAfterIt) {
  SendIds(0, 0, {1, 2, 3});
  Run();
  Sent<Steps>();
  Open(1, kNew);
  Receive(kNew, NeedFrom{kKey, {.epoch = 1, .round = 0}, 1, 0});
  EXPECT_TRUE(Sent<Steps>().empty());
  SayGo(1, 3, 3);
  const std::vector<Steps> steps = Sent<Steps>();
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].steps[0].position, 0);
}

// Nothing else would tell it: all that there is has been sent to it.
TEST_F(StageEpochs, GoBeginsARoundThatWasMissed) {
  SendIds(0, 0, {1, 2, 3});
  Run();
  Open(1, kNew);
  Sent<Steps>();
  SayGo(1, 2, 1, 5);
  EXPECT_EQ(core_.View(kKey)->length, 2);
  EXPECT_EQ(core_.View(kKey)->life.round, 5u);
  const std::vector<Steps> steps = Sent<Steps>();
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].steps[0].life.round, 5u);
  EXPECT_EQ(steps[0].steps[0].round_begin, 1) << "the next stage may have missed it too";
}

// One that was lost is made again, while the next one has all.
TEST_F(StageEpochs, TheNextStageMayHaveMore) {
  Open(1, kNew);
  SayGo(1, 0, 3);
  SendIds(1, 0, {1, 2, 3, 4});
  Run();
  const std::vector<Steps> steps = Sent<Steps>();
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].steps[0].position, 3);
}

TEST_F(StageEpochs, AnOpenOverABrokenEdgeLeavesAllAsItWas) {
  SendIds(0, 0, {1, 2});
  Run();
  core_.Disconnected(kNew, absl::UnavailableError("broke"), now_);
  Sent<Steps>();
  Open(1, kNew);
  const std::vector<Refused> refused = Sent<Refused>();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].life.epoch, 1u);
  EXPECT_EQ(core_.View(kKey)->length, 2);
  EXPECT_EQ(core_.View(kKey)->life.epoch, 0u);
}

}  // namespace
}  // namespace catena
