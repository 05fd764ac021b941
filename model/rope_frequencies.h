// Rotary position factors (Su et al., RoFormer, 2021) with the scalings of transformers'
// modeling_rope_utils.py: made once at load, read by RotaryAppend of kernels.h.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace catena {

// One table: (positions, rotary_dim), cosines then sines of each position. Angles are float32
// products, as in the reference implementation; cos and sin are rounded from double.
struct RotaryTables {
  int tables = 1;  // longrope: 0 the short factors, 1 the long ones
  int64_t positions = 0;
  std::vector<float> factors;  // (tables, positions, rotary_dim)
};
RotaryTables MakeRotaryTables(const ModelConfig& config, int64_t positions);

// Which table a sequence uses to its end: chosen once, from its prompt and the most it may grow to,
// so that no row is ever rotated by another table than its neighbours.
int ChooseRotaryTable(const ModelConfig& config, int64_t prompt_tokens, int64_t max_tokens);

}  // namespace catena
