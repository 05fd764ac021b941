// The cases of tests/kernels/op_cases.h for the backend cuda, and what its results may differ by.
//
// Thread rules: pure functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/op_cases.h"

namespace catena::testing_kernels {

inline bool IsOf(const OpCase& c, std::string_view word) {
  return (" " + c.op + " ").find(" " + std::string(word) + " ") != std::string::npos;
}

// How the backend computes a case: what the CPU computes in float32 by default goes to the tensor
// cores here, and is asked for by name.
inline Activations CudaActivations(const OpCase& c) {
  const bool widened = c.activations == Activations::kInt8 && IsOf(c, "f32");
  return widened ? Activations::kF32 : c.activations;
}

inline constexpr int kMostHeadDim = 128;  // more is refused

// Of the types that the backend reads.
inline std::vector<OpCase> CudaOpCases(OpShapes shapes) {
  std::erase_if(shapes.attention, [](const auto& a) { return a.heads.head_dim > kMostHeadDim; });
  constexpr DType kUnread[] = {DType::kQ5_0, DType::kQ5_1,  DType::kIQ4_NL, DType::kMXFP4,
                               DType::kQ2_K, DType::kQ3_K,  DType::kQ4_K,   DType::kQ5_K,
                               DType::kQ6_K, DType::kIQ4_XS};
  std::vector<OpCase> cases;
  for (OpCase& c : OpCases(shapes)) {
    const auto names = [&](DType t) { return IsOf(c, Name(t)); };
    if (!std::any_of(std::begin(kUnread), std::end(kUnread), names)) cases.push_back(std::move(c));
  }
  return cases;
}

// Bit by bit where kernels.h prescribes the order of sums, and within what float32 may err where
// tensor cores have their own.
inline bool IsRight(const OpCase& c, const std::vector<float>& got,
                    const std::vector<float>& expected) {
  const bool exact = !IsOf(c, "bf16") || CudaActivations(c) != Activations::kBf16;
  if (exact || got.size() != expected.size()) return Bits(got) == Bits(expected);
  float largest = 0.0f, worst = 0.0f;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::fabs(expected[i]));
    worst = std::max(worst, std::fabs(got[i] - expected[i]));
    if (std::isnan(got[i])) return false;
  }
  return worst < 1e-5f * largest;
}

}  // namespace catena::testing_kernels
