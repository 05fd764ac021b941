// The instructions that kernels/cuda/ptx.h has in assembly, on machine.h.
//
// Thread rules: from kernels.
#pragma once

#include <cstdint>

#include "tests/gpu/emulate/machine.h"

namespace catena::emulate {

// Ends the run where the machine's compute capability is less.
void Need(int capability, const Where& where);

// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32: d += a x b. Products are exact and are
// summed by k ascending in float32, and d is added last: a tensor core's order is its own secret.
void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Where& where);

// ldmatrix.sync.aligned.m8n8.x4.shared.b16: lane i names row i % 8, 16 bytes, of matrix i / 8.
void LdMatrix4(uint32_t (&out)[4], uint32_t row, const Where& where);

// cvt.f32.f16, cvt.rn.f16.f32.
float HalfToFloat(uint16_t h);
uint16_t FloatToHalf(float f);

}  // namespace catena::emulate
