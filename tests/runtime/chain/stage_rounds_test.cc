// What a stage sends on, and sends again, where rounds begin and journals forget.
#include <string>

#include <gtest/gtest.h>

#include "runtime/chain/stage_core.h"
#include "tests/runtime/chain/endless_memory.h"

namespace catena {
namespace {

using std::chrono::milliseconds;

constexpr Incarnation kGateway = 1, kNext = 2;
constexpr int64_t kRowBytes = 4;

// What a stage before a head is sent and sends. Its rows are four bytes, made of the id.
class StageBeforeHead {
 public:
  explicit StageBeforeHead(int64_t journal_bytes = 1 << 20)
      : core_({.first = true,
               .row_bytes = kRowBytes,
               .vocab_size = 10,
               .max_positions = 100,
               .journal_bytes = journal_bytes},
              &memory_) {
    Receive(kGateway, OpenStage{.sequence = kKey,
                                .life = {},
                                .upstream = kGateway,
                                .next = {.address = "next", .incarnation = kNext},
                                .prompt_length = 1,
                                .max_length = 100,
                                .window_rows = 100,
                                .decode_groups = 1});
    core_.Connected(kNext, now_);
    core_.TakeOutput();
  }
  void Receive(Incarnation from, ChainMessage message) {
    core_.Receive(from, Lane::kDecode, std::move(message), now_);
  }
  void SendIds(int64_t position, std::vector<int32_t> ids, uint32_t round = 0,
               int64_t round_begin = 0) {
    Steps steps;
    steps.steps.push_back({.sequence = kKey,
                           .life = {.epoch = 0, .round = round},
                           .round_begin = round_begin,
                           .position = position,
                           .ids = std::move(ids),
                           .row_hashes = {}});
    Receive(kGateway, std::move(steps));
  }
  const StageBatch* Start() { return core_.NextBatch(now_ += milliseconds(100)); }
  void Finish(const StageBatch* batch) {
    std::string rows;
    for (const int32_t id : batch->ids) rows.append(kRowBytes, static_cast<char>('0' + id));
    core_.Complete(rows.data(), now_);
  }
  void Run() {
    while (const StageBatch* batch = Start()) Finish(batch);
  }
  // The next stage says that it has so many positions.
  void Acknowledge(int64_t length, uint32_t round = 0) {
    Receive(kNext, Lengths{{{kKey, {.epoch = 0, .round = round}, length}}});
  }
  void Ask(uint64_t number, int64_t position, uint32_t round = 0) {
    Receive(kNext, NeedFrom{kKey, {.epoch = 0, .round = round}, number, position});
  }
  struct Sent {
    std::vector<Step> steps;
    std::vector<NeedFrom> questions;
    std::vector<Refused> refused;
  };
  Sent TakeSent() {
    Sent sent;
    for (Envelope& e : core_.TakeOutput().send) {
      if (auto* steps = std::get_if<Steps>(&e.message)) {
        for (Step& step : steps->steps) sent.steps.push_back(std::move(step));
      }
      if (auto* need = std::get_if<NeedFrom>(&e.message)) sent.questions.push_back(*need);
      if (auto* refused = std::get_if<Refused>(&e.message)) sent.refused.push_back(*refused);
    }
    return sent;
  }
  StageCore& core() { return core_; }

 private:
  static constexpr SequenceKey kKey{.gateway = kGateway, .number = 1};
  EndlessMemory memory_;
  StageCore core_;
  Instant now_{std::chrono::hours(1)};
};

TEST(StageRounds, AQuestionForRowsThatTheJournalLostIsAnsweredOnceTheyAreMadeAgain) {
  StageBeforeHead stage(0);
  stage.SendIds(0, std::vector<int32_t>(40, 3));
  stage.Run();
  stage.Acknowledge(40);
  stage.SendIds(40, {3});  // after which the journal forgets
  stage.Run();
  ASSERT_GT(stage.core().View({kGateway, 1})->journal_begin, 5);
  stage.TakeSent();

  stage.SendIds(41, {3});
  const StageBatch* batch = stage.Start();
  ASSERT_NE(batch, nullptr);
  stage.Ask(1, 5);
  stage.Acknowledge(5);
  EXPECT_TRUE(stage.TakeSent().steps.empty());
  stage.Finish(batch);
  auto sent = stage.TakeSent();
  EXPECT_TRUE(sent.steps.empty());
  ASSERT_EQ(sent.questions.size(), 1u);
  EXPECT_EQ(sent.questions[0].position, 5);
  stage.SendIds(5, std::vector<int32_t>(37, 3));
  stage.Run();
  sent = stage.TakeSent();
  ASSERT_FALSE(sent.steps.empty());
  EXPECT_EQ(sent.steps.front().position, 5);
  EXPECT_EQ(sent.steps.back().end(), 42);
}

TEST(StageRounds, StepsSayWhereTheRoundsBeganThatTheNextStageMayHaveMissed) {
  StageBeforeHead stage;
  stage.SendIds(0, {1, 2, 3, 4, 5, 6});
  stage.Run();
  stage.Acknowledge(6);
  stage.TakeSent();
  stage.SendIds(3, {7}, 1, 3);
  stage.Run();
  stage.SendIds(4, {8, 9}, 2, 4);
  stage.Run();
  auto sent = stage.TakeSent();
  ASSERT_EQ(sent.steps.size(), 2u);
  EXPECT_EQ(sent.steps[0].round_begin, 3);
  EXPECT_EQ(sent.steps[1].round_begin, 3);  // whether the step before has come is not known
  stage.Acknowledge(4, 1);                  // it has: what round 2 began with was lost
  stage.SendIds(5, {6}, 3, 5);
  stage.Run();
  sent = stage.TakeSent();
  ASSERT_FALSE(sent.steps.empty());
  EXPECT_EQ(sent.steps[0].position, 4);
  EXPECT_EQ(sent.steps.back().round_begin, 4);
}

// The next stage asks again, or says its length, while the batch runs whose end cuts the sequence
// back: nothing of the old round goes on under the new one's name.
TEST(StageRounds, WhileARoundWaitsForTheBatchNothingOfTheOldOneIsSent) {
  StageBeforeHead stage;
  stage.SendIds(0, {1, 2, 3, 4});
  stage.Run();
  stage.TakeSent();
  stage.SendIds(4, {5});
  const StageBatch* batch = stage.Start();
  ASSERT_NE(batch, nullptr);
  stage.SendIds(2, {6}, 1, 2);
  stage.Ask(1, 0, 1);
  stage.Acknowledge(0, 1);
  stage.Finish(batch);
  for (const Step& step : stage.TakeSent().steps) EXPECT_LE(step.end(), 2);
}

TEST(StageRounds, RotaryFactorsThatTheModelLacksEndTheSequence) {
  StageBeforeHead stage;
  Steps steps;
  steps.steps.push_back({.sequence = {kGateway, 1},
                         .life = {},
                         .rotary = 1,
                         .position = 0,
                         .ids = {1},
                         .row_hashes = {}});
  stage.Receive(kGateway, std::move(steps));
  EXPECT_EQ(stage.Start(), nullptr);
  const auto sent = stage.TakeSent();
  ASSERT_EQ(sent.refused.size(), 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(sent.refused[0].status));
}

// A roll-back that comes while a batch runs: what the batch computes is of ids that are no more.
TEST(StageRounds, RowsOfIdsThatWereRolledBackAreNotSent) {
  StageBeforeHead stage;
  stage.SendIds(0, {3});
  const StageBatch* batch = stage.Start();
  ASSERT_NE(batch, nullptr);
  stage.SendIds(0, {4}, 1);
  stage.Finish(batch);
  EXPECT_TRUE(stage.TakeSent().steps.empty());
  stage.SendIds(0, {4}, 1);
  batch = stage.Start();
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(batch->ids, std::vector<int32_t>{4});
  EXPECT_EQ(batch->spans[0].first_position, 0);
}

}  // namespace
}  // namespace catena
