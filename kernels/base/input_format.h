// What a linear layer makes of its inputs before it multiplies them.
#pragma once

#include <span>

#include "kernels/base/dtype.h"

namespace catena {

// What the inputs of linear layers are rounded to, by the weights that read them (InputFormatOf).
enum class Activations {
  kInt8,  // int8 for quantised weights, float32 for the others
  kBf16,  // int8 for quantised weights, bfloat16 for those of bfloat16, float32 for the others
  kF32    // float32 for all
};
enum class InputFormat { kF32, kBf16, kInt8 };
constexpr InputFormat InputFormatOf(Activations activations, DType weight) {
  if (activations == Activations::kF32) return InputFormat::kF32;
  if (IsQuantised(weight)) return InputFormat::kInt8;
  const bool bf16 = activations == Activations::kBf16 && weight == DType::kBF16;
  return bf16 ? InputFormat::kBf16 : InputFormat::kF32;
}

// One row of inputs is for all types of a weight: where they would differ, it is float32.
constexpr InputFormat InputFormatOf(Activations activations, std::span<const DType> weight) {
  const InputFormat first = InputFormatOf(activations, weight[0]);
  for (const DType t : weight) {
    if (InputFormatOf(activations, t) != first) return InputFormat::kF32;
  }
  return first;
}

}  // namespace catena
