#include "runtime/chain/head_core.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/chain/error_facts.h"

namespace catena {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr Incarnation kGateway = 1, kLastShard = 2;
constexpr int64_t kRowBytes = 4, kVocab = 10;
constexpr SequenceKey kKey{.gateway = kGateway, .number = 1};

// A head with one sequence, whose prompt has two ids; the model says (sum of ids so far) % kVocab.
class HeadCoreTest : public ::testing::Test {
 protected:
  HeadCoreTest() {
    core_.Receive(kGateway, Lane::kControl, MakeOpen(), now_);
    core_.TakeOutput();
  }
  static OpenHead MakeOpen() {
    return {.sequence = kKey,
            .life = {},
            .upstream = kLastShard,
            .ids = {},
            .prompt_length = 2,
            .max_length = 50,
            .first_wanted = 1,
            .first_token = 0,
            .window_rows = 20,
            .score_top = 0,
            .sequence_index = 0,
            .params = {}};
  }
  // Positions [position, position + ids.size()), whose rows say what the model says.
  void Send(int64_t position, const std::vector<int32_t>& ids, uint32_t round = 0,
            int64_t round_begin = 0, int32_t rotary = 0) {
    ids_.resize(static_cast<size_t>(position));
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    auto rows = std::make_shared<std::string>();
    Step step{.sequence = kKey,
              .life = {.epoch = 0, .round = round},
              .round_begin = round_begin,
              .rotary = rotary,
              .position = position,
              .ids = ids,
              .row_hashes = {}};
    for (auto p = std::max<int64_t>(position, 1); p < step.end(); ++p) {
      const std::string row(kRowBytes, static_cast<char>('0' + Says(p)));
      rows->append(row);
      step.row_hashes.push_back(HashRow(row.data(), kRowBytes));
    }
    Steps steps;
    if (!rows->empty()) steps.rows = rows;
    steps.steps.push_back(std::move(step));
    core_.Receive(kLastShard, Lane::kDecode, std::move(steps), now_);
  }
  int32_t Says(int64_t position) const {
    int32_t sum = 0;
    for (int64_t p = 0; p <= position; ++p) sum += ids_[static_cast<size_t>(p)];
    return sum % kVocab;
  }
  const std::vector<RowRun>* Start() { return core_.NextBatch(now_); }
  void Finish(const std::vector<RowRun>* batch) {
    std::vector<float> logits;
    for (const RowRun& run : *batch) {
      for (int64_t i = 0; i < run.rows; ++i) {
        const char said = run.payload->at(run.offset + static_cast<size_t>(i * kRowBytes));
        logits.resize(logits.size() + kVocab);
        logits[logits.size() - kVocab + static_cast<size_t>(said - '0')] = 1;
      }
    }
    LogitsAtHand source(logits.data(), kVocab);
    core_.Complete(source, now_);
  }
  void Run() {
    while (const std::vector<RowRun>* batch = Start()) Finish(batch);
  }
  // (position, id) of all that it sent.
  std::vector<std::pair<int64_t, int32_t>> Tokens() {
    std::vector<std::pair<int64_t, int32_t>> tokens;
    for (Envelope& e : core_.TakeOutput().send) {
      const auto* sent = std::get_if<catena::Tokens>(&e.message);
      if (sent == nullptr) continue;
      for (const Token& t : sent->tokens) tokens.emplace_back(t.position, t.token.id);
    }
    return tokens;
  }
  int64_t HistoryLength() { return core_.View(kKey)->cursor; }

  HeadCore core_{{.row_bytes = kRowBytes, .vocab_size = kVocab, .max_positions = 100}};
  Instant now_{std::chrono::hours(1)};
  std::vector<int32_t> ids_;
};

TEST_F(HeadCoreTest, EachWantedRowBecomesAToken) {
  Send(0, {1, 2});
  Run();
  EXPECT_THAT(Tokens(), ElementsAre(Pair(2, 3)));
  Send(2, {3});
  Run();
  EXPECT_THAT(Tokens(), ElementsAre(Pair(3, 6)));
}

TEST_F(HeadCoreTest, BehindAWrongGuessNothingIsSampled) {
  Send(0, {1, 2});
  Run();
  Send(2, {3, 6, 9, 1});  // 3 and 6 are right, then 2 would be
  Run();
  EXPECT_THAT(Tokens(), ElementsAre(Pair(2, 3), Pair(3, 6), Pair(4, 2)));
  Send(4, {2}, 1, 4);
  Run();
  EXPECT_THAT(Tokens(), ElementsAre(Pair(5, 4)));
}

// A step of guesses may be cut in two on its way.
TEST_F(HeadCoreTest, AWrongGuessIsNoticedWhenItComesAfterTheTokenWasSampled) {
  Send(0, {1, 2});
  Run();
  Send(2, {3});
  Run();
  EXPECT_THAT(Tokens(), ElementsAre(Pair(2, 3), Pair(3, 6)));
  Send(3, {5, 5});
  Run();
  EXPECT_THAT(Tokens(), IsEmpty());
  Send(3, {6}, 1, 3);
  Run();
  EXPECT_THAT(Tokens(), ElementsAre(Pair(4, 2)));
}

TEST_F(HeadCoreTest, ARoundWithOtherRotaryFactorsGoesOnWhereTheTextEnds) {
  Send(0, {1, 2});
  Run();
  Send(2, {3});
  Run();
  Tokens();
  ids_ = {};
  Send(0, {1, 2, 3, 6}, 1, 0, 1);
  Run();
  EXPECT_THAT(Tokens(), ElementsAre(Pair(4, 2)));
  EXPECT_EQ(HistoryLength(), 4);
}

TEST_F(HeadCoreTest, OpenedAnewWithItsIdsItSamplesAsIfItHadNeverLostThem) {
  core_.Receive(kGateway, Lane::kControl, Close{kKey}, now_);
  OpenHead open = MakeOpen();
  open.life.round = 1;
  open.ids = ids_ = {1, 2, 3};
  open.first_token = 4;
  open.params.presence_penalty = 2;
  core_.Receive(kGateway, Lane::kControl, open, now_);
  core_.TakeOutput();
  Send(3, {7}, 1, 0, 1);
  Run();
  // The model says 3, which the text has already.
  EXPECT_THAT(Tokens(), ElementsAre(Pair(4, 0)));
  EXPECT_EQ(HistoryLength(), 4);
}

TEST_F(HeadCoreTest, ARoundThatComesWhileABatchRunsLeavesTheHistoryWhole) {
  Send(0, {1, 2});
  Run();
  Send(2, {3});
  const std::vector<RowRun>* batch = Start();
  ASSERT_NE(batch, nullptr);
  Send(3, {7}, 1, 3);
  Finish(batch);
  EXPECT_THAT(Tokens(), ElementsAre(Pair(2, 3), Pair(3, 6)));
  EXPECT_EQ(HistoryLength(), 3);
  Send(3, {6}, 1, 3);
  Run();
  EXPECT_THAT(Tokens(), ElementsAre(Pair(4, 2)));
  EXPECT_EQ(HistoryLength(), 4);
}

TEST_F(HeadCoreTest, AResultIsRepeatedUntilItIsKnownToHaveCome) {
  Send(0, {1, 2});
  Run();
  EXPECT_THAT(Tokens(), ElementsAre(Pair(2, 3)));
  now_ += limits::kRetry;
  core_.Receive(kGateway, Lane::kControl, Heartbeat{1, {{kKey, {}, 2}}}, now_);
  EXPECT_THAT(Tokens(), ElementsAre(Pair(2, 3)));
  now_ += limits::kRetry;
  core_.Receive(kGateway, Lane::kControl, Heartbeat{1, {{kKey, {}, 3}}}, now_);
  EXPECT_THAT(Tokens(), IsEmpty());
}

// As at a shard: what may make stages fail is tried alone, whoever opened it.
TEST_F(HeadCoreTest, OneSuspectAtATimeIsHereUntilATokenClearsIt) {
  const auto refused = [this](SequenceKey key, int64_t trial_end, uint32_t epoch = 0) {
    OpenHead open = MakeOpen();
    open.sequence = key;
    open.life.epoch = epoch;
    open.trial_end = trial_end;
    core_.Receive(key.gateway, Lane::kControl, std::move(open), now_);
    for (Envelope& e : core_.TakeOutput().send) {
      if (const auto* said = std::get_if<Refused>(&e.message)) {
        return said->sequence == key && ReasonOf(said->status) == ErrorReason::kAwaitsTrial;
      }
    }
    return false;
  };
  constexpr SequenceKey kOther{.gateway = kGateway + 10, .number = 1};
  Send(0, {1, 2});
  EXPECT_FALSE(refused(kKey, 2, 1)) << "no other one is tried";
  EXPECT_TRUE(refused(kOther, 2));
  EXPECT_FALSE(refused(kOther, 0)) << "who is not suspected may be here too";
  EXPECT_TRUE(refused(kOther, 2, 1)) << "and not once he is";
  core_.Receive(kGateway, Lane::kControl, Close{kKey}, now_);
  EXPECT_FALSE(refused(kOther, 2, 1));
}

}  // namespace
}  // namespace catena
