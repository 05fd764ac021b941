// What is made of a stage's counters, and when a stage is said to stand still.
#include "services/telemetry/stage_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

const Instant kStart{seconds(1000)};

TEST(BusyClockTest, BubblesAreTheTimeWithOpenSequencesInWhichNothingRuns) {
  BusyClock clock;
  clock.Set(true, false, kStart);               // one is opened
  clock.Set(true, true, kStart + seconds(1));   // a batch begins,
  clock.Set(true, false, kStart + seconds(4));  // and ends
  clock.Set(true, true, kStart + seconds(6));
  clock.Set(false, false, kStart + seconds(7));  // its last sequence has been closed
  clock.Set(true, false, kStart + seconds(100));
  clock.Emptied();
  clock.Set(true, false, kStart + seconds(200));
  EXPECT_EQ(clock.busy(), seconds(4));
  EXPECT_EQ(clock.idle(), seconds(3));
}

TEST(StageMetricsTest, TheBubbleRatioIsOfTheLastMinute) {
  StageSnapshot now;
  StageMetrics metrics([&now] { return now; });
  const auto ratio_at = [&](Instant at) {
    Exposition page;
    metrics.CollectAt(page, at);
    const std::string name = "\ncatena_stage_bubble_ratio ";
    return std::stod(page.text().substr(page.text().find(name) + name.size()));
  };
  EXPECT_EQ(ratio_at(kStart), 0);
  // A quarter of its time idle, then all of it.
  now.counters.clock.Set(true, true, kStart);
  now.counters.clock.Set(true, false, kStart + seconds(30));
  now.counters.clock.Set(true, true, kStart + seconds(40));
  EXPECT_EQ(ratio_at(kStart + seconds(40)), 0.25);
  now.counters.clock.Set(true, false, kStart + seconds(40));
  now.counters.clock.Set(true, true, kStart + seconds(140));
  EXPECT_EQ(ratio_at(kStart + seconds(140)), 1);
}

TEST(StageMetricsTest, CountsAreSaidAsTheyAre) {
  StageSnapshot now;
  now.load = {.sequences = 3, .queued_rows = 4, .journal_bytes = 5, .batches = 6, .rows = 7};
  now.counters.replayed_rows = 8;
  now.counters.row_faults = {.came_twice = 9, .came_corrupt = 11, .kept_corrupt = 12};
  now.broken_edges = 10;
  now.counters.batch_rows.Add(2);
  StageMetrics metrics([&now] { return now; });
  Exposition page;
  metrics.Collect(page);
  for (const std::string line :
       {"sequences 3", "queued_rows 4", "journal_bytes 5", "batches_total 6", "rows_total 7",
        "replayed_rows_total 8", "divergences_total 9", "corrupt_steps_total 11",
        "corrupt_journal_rows_total 12", "edges_broken 10", "batch_rows_bucket{le=\"1\"} 0",
        "batch_rows_bucket{le=\"2\"} 1", "batch_rows_sum 2"}) {
    EXPECT_THAT(page.text(), HasSubstr("\ncatena_stage_" + line + "\n"));
  }
}

TEST(StallCheckTest, OnlyWorkThatWaitsAndDoesNotMoveIsAStall) {
  ReplicaLoad load;
  StallCheck check([&load] { return load; }, seconds(10));
  const auto wait = [&load](seconds time) { load.oldest_step_ns = Nanoseconds(time).count(); };
  EXPECT_TRUE(check.At(kStart).ok());
  EXPECT_TRUE(check.At(kStart + seconds(3600)).ok()) << "it was idle";
  wait(seconds(9));
  EXPECT_TRUE(check.At(kStart + seconds(3609)).ok()) << "not for long";
  wait(seconds(30));
  load.progress = 1;
  EXPECT_TRUE(check.At(kStart + seconds(3630)).ok()) << "it is slow, and moves";
  wait(seconds(39));
  EXPECT_TRUE(check.At(kStart + seconds(3639)).ok());
  wait(seconds(40));
  const absl::Status stalled = check.At(kStart + seconds(3640));
  EXPECT_TRUE(absl::IsUnavailable(stalled));
  EXPECT_THAT(std::string(Message(stalled)), HasSubstr("10.0 s"));
  load.progress = 2;
  EXPECT_TRUE(check.At(kStart + seconds(3641)).ok());
}

}  // namespace
}  // namespace catena
