// A run of decoder blocks, half-open, and the cuts of a model into them.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/base/status.h"

namespace catena {

struct LayerRange {
  int begin = 0, end = 0;
  int size() const { return end - begin; }
  friend bool operator==(const LayerRange&, const LayerRange&) = default;
};

// "0-16,16-30" as ranges that tile [0, n_layers). INVALID_ARGUMENT where they do not.
absl::StatusOr<std::vector<LayerRange>> ParseLayers(std::string_view text, int n_layers);

// "8-16" as one range within [0, n_layers); "" as all of it. INVALID_ARGUMENT where it is none.
absl::StatusOr<LayerRange> ParseLayerRange(std::string_view text, int n_layers);

// What each block costs, and what the first stage has besides, in any one unit. The head is a stage
// of its own.
struct LayerCosts {
  double block = 1.0;
  double embedding = 0.0;  // with the first stage
};

// [0, n_layers) in `stages` ranges whose largest cost is least, earlier ones not smaller by more
// than they must. INVALID_ARGUMENT unless 1 <= stages <= n_layers.
absl::StatusOr<std::vector<LayerRange>> BalancedCuts(int n_layers, int stages,
                                                     const LayerCosts& costs);

}  // namespace catena
