// The int8 linear layer's inner part: one table of functions an instruction set, a row a type.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/cpu/layout.h"
#include "kernels/float_rows.h"

namespace catena::cpu {

// One linear layer: out = (or +=) activations x panels.
struct Int8Linear {
  const uint8_t* weights;      // panels of one type (layout.h), 64-byte aligned
  const uint8_t* activations;  // tiles (layout.h)
  int rows;
  int64_t cols;   // K, a multiple of 32
  FloatRows out;  // (rows, N)
  bool add;
};

struct Int8Kernel {
  // Computes panels [begin, end). `scratch`: Int8ScratchBytes(rows), 64-byte aligned, one a thread.
  void (*panels)(const Int8Linear& job, int64_t begin, int64_t end, uint8_t* scratch);
  // Unpacks blocks [block, block + n) of a panel.
  void (*unpack)(const uint8_t* panel, int block, int n, uint8_t* out);
};
// By DType; null where it is not quantised.
using Int8Kernels = std::array<Int8Kernel, kDTypes>;

constexpr int64_t kInt8SlabBytes = 48 << 10;
constexpr int64_t Int8ScratchBytes(int rows) {
  return kInt8SlabBytes + int64_t{rows} * 8 * 32 * int64_t{sizeof(float)};
}

const Int8Kernels& Int8Avx2();
const Int8Kernels& Int8AvxVnni();
const Int8Kernels& Int8Avx512Vl();
const Int8Kernels& Int8Avx512Vnni();

}  // namespace catena::cpu
