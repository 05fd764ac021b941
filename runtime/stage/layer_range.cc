#include "runtime/stage/layer_range.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace catena {
namespace {

absl::StatusOr<int> ParseLayer(std::string_view text, std::string_view whole) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    return absl::InvalidArgumentError(
        fmt::format("--layers {}: \"{}\" is no layer; write ranges as 0-16,16-30", whole, text));
  }
  return value;
}

absl::StatusOr<LayerRange> ParseRange(std::string_view part, std::string_view whole) {
  const size_t dash = std::min(part.find('-'), part.size());
  LayerRange range;
  CATENA_ASSIGN_OR_RETURN(range.begin, ParseLayer(part.substr(0, dash), whole));
  CATENA_ASSIGN_OR_RETURN(range.end,
                          ParseLayer(part.substr(std::min(dash + 1, part.size())), whole));
  return range;
}

}  // namespace

absl::StatusOr<LayerRange> ParseLayerRange(std::string_view text, int n_layers) {
  if (text.empty()) return LayerRange{0, n_layers};
  CATENA_ASSIGN_OR_RETURN(const LayerRange range, ParseRange(text, text));
  if (range.begin < range.end && range.end <= n_layers) return range;
  return absl::InvalidArgumentError(
      fmt::format("--layers {}: no blocks of a model that has {}", text, n_layers));
}

absl::StatusOr<std::vector<LayerRange>> ParseLayers(std::string_view text, int n_layers) {
  std::vector<LayerRange> ranges;
  int at = 0;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, comma - begin);
    CATENA_ASSIGN_OR_RETURN(const LayerRange range, ParseRange(part, text));
    if (range.begin != at || range.end <= range.begin || range.end > n_layers) {
      return absl::InvalidArgumentError(fmt::format(
          "--layers {}: the model has {} blocks, and \"{}\" does not go on from {} within them",
          text, n_layers, part, at));
    }
    ranges.push_back(range);
    at = range.end;
    begin = comma + 1;
  }
  if (at != n_layers) {
    return absl::InvalidArgumentError(
        fmt::format("--layers {}: blocks {}-{} are in no range", text, at, n_layers));
  }
  return ranges;
}

absl::StatusOr<std::vector<LayerRange>> BalancedCuts(int n_layers, int stages,
                                                     const LayerCosts& costs) {
  if (stages < 1 || stages > n_layers) {
    return absl::InvalidArgumentError(fmt::format(
        "--stages {}: this model has {} blocks; give 1 to {}", stages, n_layers, n_layers));
  }
  // Only the first stage differs, so: give it k blocks, spread the rest evenly, keep the best k.
  auto largest = [&](int first) {
    const int rest = stages - 1;
    const double others =
        rest == 0 ? 0.0 : std::ceil((n_layers - first) / double(rest)) * costs.block;
    return std::max(costs.embedding + first * costs.block, others);
  };
  int best = stages == 1 ? n_layers : 1;
  for (int first = best; stages > 1 && first <= n_layers - (stages - 1); ++first) {
    if (largest(first) <= largest(best)) best = first;
  }
  std::vector<LayerRange> ranges = {{0, best}};
  for (int i = 1, left = n_layers - best; i < stages; ++i) {
    const int size = (left + stages - i - 1) / (stages - i);
    ranges.push_back({ranges.back().end, ranges.back().end + size});
    left -= size;
  }
  return ranges;
}

}  // namespace catena
