#include "runtime/chain/stage_core.h"

#include <string>

#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;

constexpr Incarnation kGateway = 1, kNext = 2;
constexpr int64_t kRowBytes = 4;
constexpr milliseconds kTrip{10};  // round the route

class EndlessMemory final : public StageMemory {
 public:
  absl::Status Open(uint64_t, int, int64_t) override { return absl::OkStatus(); }
  absl::Status Extend(uint64_t, int64_t) override { return absl::OkStatus(); }
  absl::Status Truncate(uint64_t, int64_t) override { return absl::OkStatus(); }
  void Close(uint64_t) override {}
};

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

  void Open(uint64_t number, int32_t decode_groups) {
    Receive(OpenStage{.sequence = Key(number),
                      .life = {},
                      .next = {.address = "next", .incarnation = kNext},
                      .prompt_length = 1,
                      .max_length = 100,
                      .window_rows = 100,
                      .decode_groups = decode_groups});
  }
  void SendId(uint64_t number, int64_t position) {
    Steps steps;
    steps.steps.push_back(
        {.sequence = Key(number), .life = {}, .position = position, .ids = {3}, .row_hashes = {}});
    Receive(std::move(steps));
  }
  void Close(uint64_t number) { Receive(catena::Close{Key(number)}); }

  // Runs a batch now; how many sequences it had, 0 where there was none.
  size_t Run() {
    core_.Tick(now_);
    const StageBatch* batch = core_.NextBatch(now_);
    if (batch == nullptr) return 0;
    const size_t n = batch->spans.size();
    core_.Complete(std::string(static_cast<size_t>(batch->rows() * kRowBytes), 'x').data(), now_);
    core_.TakeOutput();
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
  void HearOfNext() { core_.Receive(kNext, Lane::kDecode, Lengths{}, now_); }
  // The sequences that it has ended since its last output was taken.
  std::vector<Refused> Ended() {
    core_.Tick(now_);
    std::vector<Refused> ended;
    for (Envelope& e : core_.TakeOutput().send) {
      if (auto* r = std::get_if<Refused>(&e.message)) ended.push_back(*r);
    }
    return ended;
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

TEST(StageCore, ALinkThatStaysBrokenEndsWhatNeedsIt) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.LoseNext(absl::UnavailableError("refused"));
  stage.Pass(limits::kNoProgress - milliseconds(1));
  EXPECT_TRUE(stage.Ended().empty());
  stage.Pass(limits::kHeartbeat);
  const std::vector<Refused> ended = stage.Ended();
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(ended[0].status)) << ended[0].status;
}

TEST(StageCore, ALinkThatIsMadeAgainEndsNothing) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.LoseNext(absl::UnavailableError("broke"));
  stage.Pass(milliseconds(1));
  stage.HearOfNext();
  stage.Pass(limits::kNoProgress + limits::kHeartbeat);
  for (const Refused& r : stage.Ended()) ADD_FAILURE() << r.status;
}

TEST(StageCore, APeerThatRefusesTheLinkEndsWhatNeedsItAtOnce) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.Ended();
  stage.LoseNext(absl::FailedPreconditionError("another model"));
  stage.Pass(limits::kHeartbeat);
  EXPECT_EQ(stage.Ended().size(), 1u);
}

// A roll-back that comes while a batch runs: what the batch computes is of ids that are no more.
TEST(StageCore, RowsOfIdsThatWereRolledBackAreNotSent) {
  FirstStage stage;
  stage.Open(1, 1);
  stage.SendId(1, 0);
  const StageBatch* batch = stage.core().NextBatch(stage.now());
  ASSERT_NE(batch, nullptr);
  Steps steps;
  steps.steps.push_back({.sequence = {.gateway = kGateway, .number = 1},
                         .life = {.epoch = 0, .round = 1},
                         .position = 0,
                         .ids = {4},
                         .row_hashes = {}});
  stage.core().Receive(kGateway, Lane::kDecode, steps, stage.now());
  stage.core().Complete("xxxx", stage.now());
  for (const Envelope& e : stage.core().TakeOutput().send) {
    EXPECT_FALSE(std::holds_alternative<Steps>(e.message));
  }
  stage.core().Receive(kGateway, Lane::kDecode, steps, stage.now());
  batch = stage.core().NextBatch(stage.now());
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(batch->ids, std::vector<int32_t>{4});
  EXPECT_EQ(batch->spans[0].first_position, 0);
}

}  // namespace
}  // namespace catena
