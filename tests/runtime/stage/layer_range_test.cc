#include "runtime/stage/layer_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ParseLayers, ReadsRangesThatTile) {
  EXPECT_THAT(*ParseLayers("0-16,16-30", 30), ElementsAre(LayerRange{0, 16}, LayerRange{16, 30}));
  EXPECT_THAT(*ParseLayers("0-1", 1), ElementsAre(LayerRange{0, 1}));
}

TEST(ParseLayers, SaysWhatIsWrong) {
  for (const char* text : {"", "0", "0-", "-4", "0-2", "0-5", "1-4", "0-2,3-4", "0-2,1-4",
                           "0-2,2-2", "0-2,,2-4", "0-4,", "a-4", "0-4x", "0-99999999999", "0--4"}) {
    const absl::Status status = ParseLayers(text, 4).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("--layers"));
  }
}

TEST(BalancedCuts, TilesEvenly) {
  for (int layers : {1, 4, 30, 32}) {
    for (int stages = 1; stages <= layers; ++stages) {
      const auto ranges = *BalancedCuts(layers, stages, {});
      int at = 0, smallest = layers, largest = 0;
      for (const LayerRange& r : ranges) {
        EXPECT_EQ(r.begin, at);
        at = r.end;
        smallest = std::min(smallest, r.size());
        largest = std::max(largest, r.size());
      }
      EXPECT_EQ(at, layers);
      EXPECT_EQ(static_cast<int>(ranges.size()), stages);
      EXPECT_LE(largest - smallest, 1) << layers << " in " << stages;
    }
  }
}

TEST(BalancedCuts, TheFirstStagePaysForTheEmbedding) {
  // An embedding as heavy as three blocks.
  EXPECT_THAT(*BalancedCuts(9, 2, {.block = 1, .embedding = 3}),
              ElementsAre(LayerRange{0, 3}, LayerRange{3, 9}));
}

TEST(BalancedCuts, RefusesMoreStagesThanBlocks) {
  EXPECT_FALSE(BalancedCuts(4, 5, {}).ok());
  EXPECT_FALSE(BalancedCuts(4, 0, {}).ok());
}

}  // namespace
}  // namespace catena
