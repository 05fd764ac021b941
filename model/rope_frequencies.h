// Rotary frequencies (Su et al., RoFormer, 2021) with the scalings of transformers'
// modeling_rope_utils.py: made once at load, read by RotaryFactors of kernels.h.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace catena {

// Radians a position, in the float32 steps of the reference implementation, each rounded correctly.
struct RopeFrequencies {
  int tables = 1;             // 2 where there is a RotarySwitch: the short factors, the long ones
  std::vector<float> values;  // (tables, rotary_dim / 2)
  float scale = 1.0f;         // of sines and cosines
};
RopeFrequencies MakeRopeFrequencies(const ModelConfig& config);
// Of local blocks, as many tables. REQUIRES: config.local_rope_theta.
RopeFrequencies MakeLocalRopeFrequencies(const ModelConfig& config);

// Of longrope: a sequence uses table 0 while it has at most so many positions, and table 1, at all
// its positions, from there on. 0: there is one table.
int64_t RotarySwitch(const ModelConfig& config);

// The table of a sequence that has so many positions. One that grows past the switch is rolled back
// to 0 and computed anew: so its logits are those of a computation without a cache.
int ChooseRotaryTable(const ModelConfig& config, int64_t positions);

}  // namespace catena
