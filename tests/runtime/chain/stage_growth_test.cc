// A stage whose KV cache is too small for all that it has open: whoever came first goes on.
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/stage_core.h"

namespace catena {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Incarnation kGateway = 1, kNext = 2;
constexpr int64_t kRowBytes = 4, kRoom = 10;

class SmallMemory final : public StageMemory {
 public:
  absl::Status Open(uint64_t id, int64_t max_length, int64_t reserve) override {
    if (max_length > kRoom) return absl::InvalidArgumentError("never");
    return Hold(id, reserve);
  }
  bool Fits(int64_t reserve, absl::Span<const uint64_t> without) const override {
    int64_t others = 0;
    for (const auto& [other, n] : held_) {
      others += std::find(without.begin(), without.end(), other) == without.end() ? n : 0;
    }
    return others + reserve <= kRoom;
  }
  absl::Status ChooseRotary(uint64_t, int32_t) override { return absl::OkStatus(); }
  absl::Status Extend(uint64_t id, int64_t length) override { return Hold(id, length); }
  absl::Status Truncate(uint64_t, int64_t) override { return absl::OkStatus(); }
  void Close(uint64_t id) override { held_.erase(id); }

 private:
  absl::Status Hold(uint64_t id, int64_t length) {
    int64_t others = 0;
    for (const auto& [other, n] : held_) others += other == id ? 0 : n;
    if (others + length > kRoom) return absl::ResourceExhaustedError("full");
    held_[id] = std::max(held_[id], length);
    return absl::OkStatus();
  }
  std::map<uint64_t, int64_t> held_;
};

class StageGrowth : public ::testing::Test {
 protected:
  static SequenceKey Key(uint64_t number) { return {.gateway = kGateway, .number = number}; }
  void Open(uint64_t number, int64_t came, int64_t reserve, bool started = false) {
    core_.Receive(kGateway, Lane::kControl,
                  OpenStage{.sequence = Key(number),
                            .life = {.epoch = started ? 1u : 0u, .round = 0},
                            .upstream = kGateway,
                            .next = {.address = "next", .incarnation = kNext},
                            .prompt_length = 1,
                            .max_length = 10,
                            .window_rows = 100,
                            .decode_groups = 1,
                            .reserve = reserve,
                            .came = came,
                            .started = started},
                  now_);
    core_.Connected(kNext, now_);
  }
  void SendIds(uint64_t number, int64_t position, int64_t n) {
    Steps steps;
    steps.steps.push_back({.sequence = Key(number),
                           .life = {},
                           .position = position,
                           .ids = std::vector<int32_t>(static_cast<size_t>(n), 3),
                           .row_hashes = {}});
    core_.Receive(kGateway, Lane::kBulk, std::move(steps), now_);
  }
  // Until there is nothing to do.
  void Run() {
    while (const StageBatch* batch = core_.NextBatch(now_ += milliseconds(100))) {
      const auto bytes = static_cast<size_t>(batch->rows() * kRowBytes);
      core_.Complete(std::string(bytes, 'x').data(), now_);
    }
  }
  // The sequences that had to go since the last call, for want of memory.
  std::vector<uint64_t> MadePlace() {
    std::vector<uint64_t> numbers;
    for (Envelope& e : core_.TakeOutput().send) {
      const auto* refused = std::get_if<Refused>(&e.message);
      if (refused == nullptr) continue;
      EXPECT_TRUE(absl::IsResourceExhausted(refused->status)) << refused->status;
      EXPECT_EQ(ReasonOf(refused->status), ErrorReason::kKvCacheFull);
      numbers.push_back(refused->sequence.number);
    }
    return numbers;
  }
  // Positions that it has computed; -1 where it is not open.
  int64_t Length(uint64_t number) {
    const auto view = core_.View(Key(number));
    return view ? view->length : -1;
  }

  SmallMemory memory_;
  StageCore core_{{.first = true,
                   .row_bytes = kRowBytes,
                   .vocab_size = 10,
                   .max_positions = 100,
                   .journal_bytes = 1 << 20},
                  &memory_};
  Instant now_{std::chrono::hours(1)};
};

TEST_F(StageGrowth, MoreAreOpenThanWouldFitAtTheirFullLength) {
  for (uint64_t n = 1; n <= 5; ++n) Open(n, static_cast<int64_t>(n), 2);
  EXPECT_EQ(core_.load(now_).sequences, 5);
  EXPECT_THAT(MadePlace(), IsEmpty());
}

TEST_F(StageGrowth, WhoeverCameLastMakesPlaceForOneThatGrows) {
  Open(1, 20, 4);
  Open(2, 30, 4);
  Open(3, 10, 1);
  SendIds(3, 0, 4);
  Run();
  EXPECT_THAT(MadePlace(), ElementsAre(2));
  SendIds(3, 4, 6);
  Run();
  EXPECT_THAT(MadePlace(), ElementsAre(1));
  EXPECT_EQ(Length(3), 10);
}

TEST_F(StageGrowth, TheNewestItselfMakesPlace) {
  Open(1, 10, 8);
  Open(2, 20, 1);
  SendIds(2, 0, 4);
  Run();
  EXPECT_THAT(MadePlace(), ElementsAre(2));
  EXPECT_EQ(Length(1), 0);
}

// Both want to grow in one batch.
TEST_F(StageGrowth, InABatchWhoeverCameFirstGrowsFirst) {
  Open(2, 20, 3);
  Open(1, 10, 3);
  SendIds(2, 0, 7);
  SendIds(1, 0, 7);
  Run();
  EXPECT_THAT(MadePlace(), ElementsAre(2));
  EXPECT_EQ(Length(1), 7);
}

TEST_F(StageGrowth, OneThatComesAnewWaits) {
  Open(2, 20, 9);
  Open(1, 10, 5);
  EXPECT_THAT(MadePlace(), ElementsAre(1));
  EXPECT_EQ(Length(2), 0);
}

TEST_F(StageGrowth, OneThatStartedElsewhereGoesBeforeThoseThatCameLater) {
  Open(2, 20, 9);
  Open(1, 10, 5, true);
  EXPECT_THAT(MadePlace(), ElementsAre(2));
  EXPECT_EQ(Length(1), 0);
  Open(3, 30, 9, true);
  EXPECT_THAT(MadePlace(), ElementsAre(3));
}

TEST_F(StageGrowth, NobodyMakesPlaceInVain) {
  Open(1, 10, 5);
  Open(3, 30, 5);
  Open(2, 20, 6, true);
  EXPECT_THAT(MadePlace(), ElementsAre(2)) << "without the third there are 5";
  EXPECT_EQ(Length(3), 0);
}

}  // namespace
}  // namespace catena
