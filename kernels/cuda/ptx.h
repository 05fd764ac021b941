// Every instruction that the kernels use and CUDA C++ has no name for: in assembly for nvcc, and
// on the emulation of tests/gpu/emulate/, whose cuda_runtime.h is included in place of CUDA's, for
// a host compiler. Nothing else of kernels/cuda/ is different on the two.
//
// Thread rules: from kernels, by whole warps where it says "the warp".
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

namespace catena::cuda::ptx {

#if defined(__CUDACC__)

// 16 bytes of global memory that are read once: not kept in L1.
__device__ __forceinline__ uint4 LoadOnce(const void* p) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

// The warp: d (16 x 8, float32) += a (16 x 16) x b (16 x 8), bfloat16. With g = lane / 4 and t =
// lane % 4: a[0] is (g; 2t, 2t+1), a[1] (g+8; 2t, 2t+1), a[2] (g; 2t+8, 2t+9), a[3] (g+8; 2t+8,
// 2t+9); b[0] is (2t, 2t+1; g), b[1] (2t+8, 2t+9; g); d is (g; 2t), (g; 2t+1), (g+8; 2t), (g+8;
// 2t+1). REQUIRES: compute capability 8.0.
__device__ __forceinline__ void MmaBf16(float (&d)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

// The warp: four matrices of 8 x 8 16-bit values from shared memory; lane i names row i % 8, 16
// bytes, of matrix i / 8, and has of each matrix the values 2t and 2t+1 of row g.
__device__ __forceinline__ void LdMatrix4(uint32_t (&out)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

// Begins a copy of 16 bytes from global to shared memory; zeros where not `valid`, and then nothing
// is read.
__device__ __forceinline__ void CopyAsync16(void* to, const void* from, bool valid) {
#if __CUDA_ARCH__ >= 800
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes)
               : "memory");
#else
  *static_cast<uint4*>(to) = valid ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}
// Closes a group of this thread's copies.
__device__ __forceinline__ void CommitCopies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until all but the last kGroups of this thread's groups are done.
template <int kGroups>
__device__ __forceinline__ void WaitForCopies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
}

// float16 to float32, exact, and back, to nearest even.
__device__ __forceinline__ float HalfToFloat(uint16_t h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}
__device__ __forceinline__ uint16_t FloatToHalf(float f) {
  uint16_t h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return h;
}

#else  // the emulation

using emulate::Where;

inline uint4 LoadOnce(const void* p) { return *static_cast<const uint4*>(p); }
inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                    Where where = Where::Here()) {
  emulate::Need(80, where);
  emulate::MmaBf16(d, a, b, where);
}
inline void LdMatrix4(uint32_t (&out)[4], const void* row, Where where = Where::Here()) {
  emulate::LdMatrix4(out, emulate::ToShared(row, where), where);
}
inline void CopyAsync16(void* to, const void* from, bool valid, Where where = Where::Here()) {
  emulate::CopyAsync16(emulate::ToShared(to, where), from, valid, where);
}
inline void CommitCopies() { emulate::CommitCopies(); }
template <int kGroups>
inline void WaitForCopies() {
  emulate::WaitForCopies(kGroups);
}
inline float HalfToFloat(uint16_t h) { return emulate::HalfToFloat(h); }
inline uint16_t FloatToHalf(float f) { return emulate::FloatToHalf(f); }

#endif

}  // namespace catena::cuda::ptx
