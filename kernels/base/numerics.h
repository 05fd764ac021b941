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
  return activations == Activations::kInt8 ? "cpu-int8b32-v1" : "cpu-f32-v1";
}

}  // namespace catena
