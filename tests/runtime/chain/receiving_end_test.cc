// The receiving end of a stage by itself, over a sequence that only remembers what it was told.
#include "runtime/chain/receiving_end.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Incarnation kGateway = 1, kUpstream = 2, kStranger = 3;
constexpr SequenceKey kKey{kGateway, 7};
constexpr PublicId kPublicId{0x01f3a5c2d4e60789};
constexpr int64_t kRowBytes = 2;
constexpr milliseconds kLease{10'000};

struct Remembering {
  explicit Remembering(int64_t* alive)
      : intake(Open(), {.rows_from = 0, .row_bytes = kRowBytes, .max_length = 30, .window = 12}),
        alive(alive) {
    ++*alive;
  }
  ~Remembering() { --*alive; }
  static OpenHead Open() {
    OpenHead open;
    open.sequence = kKey;
    open.life = {.epoch = 1, .round = 2};
    open.upstream = kUpstream;
    open.public_id = kPublicId;
    return open;
  }

  int64_t Length() const { return done; }
  bool Runnable() const { return !intake.inbox.empty(); }
  void Queued(const Step& step) { queued.push_back(step.position); }
  void BeginRound(int64_t position) { rounds.push_back(position); }
  int64_t Forget(int64_t position) {
    const int64_t to = std::min({position, done, can_forget_to});
    forgotten.push_back(to);
    return done = to;
  }

  Intake intake;
  int64_t* alive;
  int64_t done = 0;
  int64_t can_forget_to = 100;  // from an earlier position it must compute all again
  std::vector<int64_t> queued, rounds, forgotten;
};

class ReceivingEndTest : public ::testing::Test {
 protected:
  ReceivingEndTest() { s_ = end_.Insert(std::make_unique<Remembering>(&alive_), now_); }

  struct StepOptions {
    uint32_t epoch = 1, round = 2;
    int64_t round_begin = 0;
    int32_t rotary = 0;
    Incarnation from = kUpstream;
    Lane lane = Lane::kDecode;
    int32_t id = 3;
    char bits = 'r';  // of the rows
  };
  // Positions [position, last).
  void Send(int64_t position, int64_t last, const StepOptions& o) {
    Steps steps;
    Step step{.sequence = kKey,
              .life = {.epoch = o.epoch, .round = o.round},
              .round_begin = o.round_begin,
              .rotary = o.rotary,
              .position = position,
              .ids = {},
              .row_hashes = {}};
    for (int64_t p = position; p < last; ++p) {
      step.ids.push_back(o.id);
    }
    const std::string row(kRowBytes, o.bits);
    step.row_hashes.assign(step.ids.size(), HashRow(row.data(), kRowBytes));
    steps.rows = std::make_shared<std::string>(step.ids.size() * kRowBytes, o.bits);
    steps.steps.push_back(std::move(step));
    end_.Receive(o.from, o.lane, steps, now_);
  }
  void Send(int64_t position, int64_t last) { Send(position, last, {}); }
  // A batch with all that is queued starts.
  void Start() {
    std::vector<int32_t> ids;
    std::vector<RowRun> rows;
    end_.queue().Join(s_);
    s_->intake.inbox.Consume(s_->intake.inbox.queued(), &ids, &rows);
    end_.queue().Started(now_);
  }
  void Finish() {
    if (!s_->intake.closed) s_->done = s_->intake.inbox.begin();
    end_.Finished(1, now_);
  }
  void Run() {
    Start();
    Finish();
  }

  template <class M>
  std::vector<M> Sent() {
    std::vector<M> sent;
    for (Envelope& e : std::exchange(output_, {}).send) {
      to_.push_back(e.to);
      if (auto* m = std::get_if<M>(&e.message)) sent.push_back(std::move(*m));
    }
    return sent;
  }
  std::vector<int64_t> Asked() {
    std::vector<int64_t> positions;
    for (const NeedFrom& need : Sent<NeedFrom>()) {
      EXPECT_EQ(need.life.round, s_->intake.life.round);
      positions.push_back(need.position);
    }
    return positions;
  }

  int64_t alive_ = 0;
  CoreOutput output_;
  ReceivingEnd<Remembering> end_{{.row_bytes = kRowBytes, .vocab_size = 10, .lease = kLease},
                                 &output_};
  Instant now_{std::chrono::hours(1)};
  Remembering* s_;
  std::vector<Incarnation> to_;
};

TEST_F(ReceivingEndTest, StepsAreQueuedInOrderAndEachOnce) {
  Send(0, 3);
  Send(0, 3);
  Send(2, 5);
  EXPECT_THAT(s_->queued, ElementsAre(0, 2));
  EXPECT_EQ(s_->intake.inbox.end(), 5);
  EXPECT_EQ(end_.queue().ready().size(), 1u);
  EXPECT_EQ(end_.load(now_).queued_rows, 5);
}

TEST_F(ReceivingEndTest, ADivergenceIsCountedAndSaysOfWhichSequenceAndFromWhom) {
  Send(0, 3);
  Send(1, 3);
  EXPECT_EQ(end_.counters().row_faults.count(), 0);
  Send(1, 3, {.bits = 'x'});
  Send(2, 4, {.bits = 'y'});
  EXPECT_EQ(end_.counters().row_faults.came_twice, 2);
  const RowFault& seen = end_.counters().row_faults.last;
  EXPECT_EQ(seen.kind, RowFault::Kind::kCameTwice);
  EXPECT_EQ(seen.sequence, kPublicId);
  EXPECT_EQ(seen.key, kKey);
  EXPECT_EQ(seen.from, kUpstream);
  EXPECT_EQ(seen.begin, 2);
  EXPECT_EQ(seen.end, 4);
  EXPECT_EQ(end_.load(now_).divergences, 2);
}

TEST_F(ReceivingEndTest, AGapIsAskedForOnceAndAgainAfterAWhile) {
  Send(2, 3);
  Send(3, 4);
  EXPECT_THAT(Asked(), ElementsAre(0));
  now_ += limits::kRetry;
  end_.Tick(now_);
  EXPECT_THAT(Asked(), ElementsAre(0));
  EXPECT_THAT(to_, ElementsAre(kUpstream, kUpstream));
}

TEST_F(ReceivingEndTest, StepsAndLengthsOfOthersThanUpstreamAreRefused) {
  Send(0, 3, {.from = kStranger});
  Send(0, 3, {.from = kGateway});
  end_.Receive(kStranger, SentLengths{{{kKey, s_->intake.life, 5}}}, now_);
  EXPECT_THAT(s_->queued, IsEmpty());
  EXPECT_THAT(output_.send, IsEmpty());
}

TEST_F(ReceivingEndTest, OtherEpochsOlderRoundsAndUnknownIdsAreDropped) {
  Send(0, 1, {.epoch = 0});
  Send(0, 1, {.epoch = 2});
  Send(0, 1, {.round = 1});
  Send(0, 1, {.id = 10});
  Send(0, 1, {.id = -1});
  EXPECT_THAT(s_->queued, IsEmpty());
  EXPECT_THAT(output_.send, IsEmpty());
}

TEST_F(ReceivingEndTest, StepsOfAnUnknownSequenceAreAnsweredToItsGateway) {
  end_.Close(kKey);
  Send(0, 1);
  EXPECT_EQ(Sent<Unknown>().size(), 1u);
  EXPECT_THAT(to_, ElementsAre(kGateway));
}

// The first part of the round's first step was lost: what is known from there on is not its.
TEST_F(ReceivingEndTest, ANewRoundGoesBackToWhereItBeginsAndNotToItsFirstStepThatCame) {
  Send(0, 8);
  Run();
  Send(6, 9, {.round = 3, .round_begin = 4});
  EXPECT_THAT(s_->rounds, ElementsAre(4));
  EXPECT_THAT(s_->forgotten, ElementsAre(4));
  EXPECT_THAT(Asked(), ElementsAre(4));
  Send(4, 6, {.round = 3, .round_begin = 4});
  EXPECT_EQ(s_->intake.inbox.begin(), 4);
  EXPECT_EQ(s_->intake.inbox.end(), 6);
}

TEST_F(ReceivingEndTest, ANewRoundGoesBackFurtherWhereTheSequenceMust) {
  Send(0, 8);
  Run();
  s_->can_forget_to = 1;
  Send(4, 6, {.round = 3, .round_begin = 4});
  EXPECT_THAT(s_->forgotten, ElementsAre(1));
  EXPECT_THAT(Asked(), ElementsAre(1));
}

TEST_F(ReceivingEndTest, ANewRoundWaitsForTheBatchThatRuns) {
  Send(0, 8);
  Start();
  Send(4, 6, {.round = 4, .round_begin = 4});
  Send(3, 6, {.round = 5, .round_begin = 3});
  EXPECT_THAT(s_->forgotten, IsEmpty());
  EXPECT_THAT(output_.send, IsEmpty());
  Finish();
  EXPECT_THAT(s_->forgotten, ElementsAre(3));
  EXPECT_THAT(Asked(), ElementsAre(3));
  EXPECT_TRUE(end_.queue().idle());
}

TEST_F(ReceivingEndTest, OtherRotaryFactorsComeOnlyWithARoundFromTheBeginning) {
  Send(0, 2, {.rotary = 0});
  Send(2, 4, {.rotary = 1});
  Send(1, 4, {.round = 3, .round_begin = 1, .rotary = 1});
  EXPECT_EQ(s_->intake.inbox.end(), 2);
  EXPECT_EQ(s_->intake.life.round, 2u);
  Send(0, 4, {.round = 3, .round_begin = 0, .rotary = 1});
  EXPECT_EQ(s_->intake.inbox.end(), 4);
  EXPECT_EQ(s_->intake.rotary, 1);
}

TEST_F(ReceivingEndTest, UpstreamHearsOfBulkRowsAtOnceAndOfDecodesAfterHalfAWindow) {
  Send(0, 2, {.lane = Lane::kBulk});
  Run();
  EXPECT_THAT(Sent<Lengths>(), testing::SizeIs(1));
  for (int64_t p = 2; p < 7; ++p) {
    Send(p, p + 1);
    Run();
  }
  EXPECT_THAT(Sent<Lengths>(), IsEmpty());
  Send(7, 8);
  Run();
  const std::vector<Lengths> told = Sent<Lengths>();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].lengths[0].length, 8);
}

// Else rounds pile up that upstream must take for missed, and the next one goes back to the oldest.
TEST_F(ReceivingEndTest, UpstreamHearsThatARoundWasSeenWithItsFirstRows) {
  Send(0, 8);
  Run();
  Send(8, 9);
  Run();
  Sent<Lengths>();
  Send(7, 8, {.round = 3, .round_begin = 7});
  Run();
  const std::vector<Lengths> told = Sent<Lengths>();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].lengths[0].life.round, 3u);
  EXPECT_EQ(told[0].lengths[0].length, 8);
  Send(8, 9, {.round = 3, .round_begin = 7});
  Run();
  EXPECT_THAT(Sent<Lengths>(), IsEmpty());  // of each round once
}

TEST_F(ReceivingEndTest, UpstreamHearsOfARoundThatCameWhileABatchRan) {
  Send(0, 8);
  Start();
  Send(4, 5, {.round = 3, .round_begin = 4});
  EXPECT_THAT(Sent<Lengths>(), IsEmpty());
  Finish();
  const std::vector<Lengths> told = Sent<Lengths>();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].lengths[0].life.round, 3u);
  EXPECT_EQ(told[0].lengths[0].length, 4);
}

TEST_F(ReceivingEndTest, ALengthThatIsAheadIsAskedForAndAnswered) {
  Send(0, 2);
  Run();
  end_.Receive(kUpstream, SentLengths{{{kKey, s_->intake.life, 5}}}, now_);
  const CoreOutput sent = std::exchange(output_, {});
  ASSERT_EQ(sent.send.size(), 2u);
  EXPECT_EQ(std::get<NeedFrom>(sent.send[0].message).position, 2);
  EXPECT_EQ(std::get<Lengths>(sent.send[1].message).lengths[0].length, 2);
}

TEST_F(ReceivingEndTest, WhatIsClosedWhileItRunsIsGivenBackAtTheEnd) {
  Send(0, 2);
  Start();
  end_.Close(kKey);
  EXPECT_EQ(end_.Find(kKey), nullptr);
  EXPECT_EQ(alive_, 1);
  Finish();
  EXPECT_EQ(alive_, 0);
}

TEST_F(ReceivingEndTest, AGatewayEndsWhatItNoLongerNames) {
  end_.Receive(kGateway, Heartbeat{.newest = 6, .open = {}}, now_, [](auto*, auto&) {});
  EXPECT_EQ(alive_, 1);  // it is newer than the heartbeat
  int named = 0;
  end_.Receive(kGateway, Heartbeat{.newest = 7, .open = {{.sequence = kKey}}}, now_,
               [&](Remembering* s, const Heartbeat::Entry&) { named += s == s_; });
  EXPECT_EQ(named, 1);
  end_.Receive(kGateway, Heartbeat{.newest = 7, .open = {}}, now_, [](auto*, auto&) {});
  EXPECT_EQ(alive_, 0);
}

TEST_F(ReceivingEndTest, AnotherGatewayEndsNothing) {
  end_.Receive(kStranger, Close{kKey});
  end_.Receive(kStranger, Heartbeat{.newest = 100, .open = {}}, now_, [](auto*, auto&) {});
  EXPECT_EQ(alive_, 1);
}

TEST_F(ReceivingEndTest, ALeaseEndsWhatASilentGatewayOpened) {
  now_ += kLease - milliseconds(1);
  end_.Tick(now_);
  EXPECT_EQ(alive_, 1);
  end_.Renew(kStranger, now_);
  now_ += milliseconds(1);
  end_.Tick(now_);
  EXPECT_EQ(alive_, 0);
}

}  // namespace
}  // namespace catena
