// Names of the arithmetic: backends with the same id give the same bits for the same rows.
//
// Raise the version whenever an op's bits change; tests/kernels/numerics_test.cc holds a hash of
// outputs for each id and fails until both are changed.
#pragma once

#include <string>

#include "kernels/kernels.h"

namespace catena {

// Of the reference and of every CPU instruction set alike.
inline std::string CpuNumericsId(Activations activations) {
  switch (activations) {
    case Activations::kInt8:
      return "cpu-int8b32-v3";
    case Activations::kBf16:
      return "cpu-bf16-v3";
    case Activations::kF32:
      return "cpu-f32-v2";
  }
  return "?";
}

}  // namespace catena
