#include "services/cli/role_telemetry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/services/log_lines.h"

namespace catena::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

using Kind = RowFault::Kind;

RowFaults Seen(int64_t count, uint64_t id, Kind kind = Kind::kCameTwice) {
  const RowFault fault{.kind = kind,
                       .sequence = PublicId{id},
                       .key = {0xab, 12},
                       .from = 0xcd,
                       .begin = 5,
                       .end = 7};
  RowFaults faults;
  for (int64_t i = 0; i < count; ++i) faults.Add(fault);
  return faults;
}

TEST(LogRowFaultsTest, NamesTheSequenceAsClientsDoAndWhoSentWhat) {
  const LogLines lines;
  LogRowFaults log;
  log(Seen(3, 0x01f3a5c2d4e60789));
  const auto said = lines.With("sequence 01f3a5c2d4e60789");
  ASSERT_THAT(said, SizeIs(1));
  for (const char* part : {"[5, 7)", "from cd", "3 times here", "is ab-12"}) {
    EXPECT_THAT(said[0], HasSubstr(part));
  }
}

TEST(LogRowFaultsTest, AMachineThatBreaksDownDoesNotFillTheLog) {
  const LogLines lines;
  LogRowFaults log;
  for (int64_t count = 1; count <= 1000; ++count) log(Seen(count, 7));
  EXPECT_THAT(lines.With("sequence 0000000000000007"), SizeIs(10));
}

TEST(LogRowFaultsTest, SaysWhereBitsChanged) {
  const LogLines lines;
  LogRowFaults log;
  log(Seen(2, 1, Kind::kCameCorrupt));
  log(Seen(4, 2, Kind::kKeptCorrupt));
  EXPECT_THAT(lines.With("from cd with other bits than were sent, 2 times"), SizeIs(1));
  EXPECT_THAT(lines.With("were kept, and changed, 4 times"), SizeIs(1));
}

}  // namespace
}  // namespace catena::cli
