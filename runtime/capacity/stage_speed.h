// How long a batch of a stage takes, by a roofline: the weights are read once, each row computes,
// and each row's attention reads the positions before it.
//
// Williams, Waterman, Patterson (2009), Roofline: of what runs beside one another the slower
// counts. What is computed so is no measurement; it can be made from one (MeasuredTimes).
//
// Thread rules: plain values.
#pragma once

#include <algorithm>
#include <cstdint>

namespace catena {

struct StageSpeed {
  double batch_s = 0;     // that any batch takes besides: launches, scheduling
  double weights_s = 0;   // to read the weights, once a batch
  double row_s = 0;       // to compute a row
  double position_s = 0;  // to read one position of the KV cache

  // `context`: positions of the KV cache that its rows look at, all together.
  double Seconds(double rows, double context) const {
    return batch_s + std::max(weights_s, rows * row_s) + context * position_s;
  }
};

}  // namespace catena
