// How a Hugging Face folder's weights are quantised: the "quantization_config" of its config.json
// (of compressed-tensors also "compression_config").
//
// What tensors themselves show (bits, which layers) is not asked of the config, which is there to
// tell apart layouts that look alike, groups among them, and to refuse what is not read, by name.
//
// Sources: AutoAWQ's WQLinear_GEMM, AutoGPTQ's and GPTQModel's QuantLinear, compressed-tensors'
// quant_args.py and pack_quantized.py, transformers' integrations/finegrained_fp8.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/json.h"

namespace catena {

struct QuantScheme {
  enum class Layout {
    kAwq,         // qweight (cols, rows / 8), qzeros, scales
    kGptq,        // qweight (cols * bits / 32, rows), qzeros, scales, g_idx
    kCompressed,  // weight_packed or weight, weight_scale, weight_zero_point
    kFp8,         // weight, weight_scale_inv or weight_scale
  };
  Layout layout = Layout::kFp8;
  std::string name;     // the config's quant_method, for messages
  int bits = 8;         // of awq and gptq
  int zero_offset = 0;  // what gptq subtracts from each zero point of a word, with borrows
  // Inputs that share a scale, in order, the last ones of a row being fewer where they do not
  // divide it; 0: all. Of compressed-tensors one or more, as layers differ. Empty: not said.
  std::vector<int64_t> group_sizes;
  // Rows and columns that share a scale, where blocks do; 0: they do not.
  int64_t block_rows = 0, block_cols = 0;
  // What is in the config and changes nothing here, a line each that begins with the source.
  std::vector<std::string> warnings;
};

// Nothing where the config has no such object. `source`, its path, starts every message.
// INVALID_ARGUMENT where the method, or something about it, is not read here, with what is;
// DATA_LOSS where a value is of another type than it can be. REQUIRES: `config` is an object.
absl::StatusOr<std::optional<QuantScheme>> ReadQuantScheme(const nlohmann::json& config,
                                                           const std::string& source);

}  // namespace catena
