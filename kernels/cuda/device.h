// What the kernels share: launches, shared variables, and the arithmetic of kernels.h on a device.
//
// All of it is exact: nvcc is told to contract nothing (-fmad=false), and division, square root and
// exp are those of the specification. So what does not use tensor cores gives the CPU's bits.
//
// Thread rules: functions marked __device__ from kernels, Launch from any thread.
#pragma once

#include <cstdint>
#include <utility>

#include <cuda_runtime.h>

#include "kernels/base/arithmetic.h"
#include "kernels/base/dtype.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/ptx.h"

// CATENA_SHARED(float, tile, [4][8]): a variable in the block's shared memory.
// CATENA_DYNAMIC_SHARED(T, name): what the launch asked for, as T*.
#if defined(__CUDACC__)
#define CATENA_SHARED(T, name, ...) __shared__ __align__(16) T name __VA_ARGS__
#define CATENA_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(128) unsigned char catena_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(catena_dynamic_shared)
#endif

namespace catena::cuda {

inline constexpr unsigned kWholeWarp = 0xffffffff;
inline constexpr int kWarpLanes = 32;
inline constexpr size_t kDefaultSharedBytes = 48 << 10;  // more must be asked for

constexpr int CeilDiv(int64_t a, int64_t b) { return static_cast<int>((a + b - 1) / b); }

// kernel<<<grid, threads, shared_bytes, stream>>>(args…); an error ends the process.
template <class... P, class... A>
void Launch(cudaStream_t stream, dim3 grid, int threads, size_t shared_bytes, void (*kernel)(P...),
            A&&... args) {
  if (shared_bytes > kDefaultSharedBytes) {
    Check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          "cudaFuncSetAttribute");
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  Check(cudaLaunchKernelEx(&config, kernel, std::forward<A>(args)...), "cudaLaunchKernelEx");
}

__device__ __forceinline__ int Thread() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int Threads() { return static_cast<int>(blockDim.x); }
__device__ __forceinline__ int Warp() { return static_cast<int>(threadIdx.x) / kWarpLanes; }
__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) % kWarpLanes; }

__device__ __forceinline__ float Bf16ToFloat(uint16_t h) {
  return __uint_as_float(static_cast<unsigned>(h) << 16);
}
// To nearest even.
__device__ __forceinline__ uint16_t FloatToBf16(float f) {
  const unsigned bits = __float_as_uint(f);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
// As a cache rounds: what float16 cannot hold becomes its largest value.
__device__ __forceinline__ uint16_t FloatToHalfSaturating(float f) {
  constexpr float kLargest = 65504.0f;
  if (f > kLargest) f = kLargest;
  if (f < -kLargest) f = -kLargest;
  return ptx::FloatToHalf(f);
}

// exp and E of kernels.h.
__device__ __forceinline__ float Exp(float x) {
  constexpr float p0 = kExpPolynomial[0], p1 = kExpPolynomial[1], p2 = kExpPolynomial[2],
                  p3 = kExpPolynomial[3], p4 = kExpPolynomial[4], p5 = kExpPolynomial[5];
  x = x < kExpLow ? kExpLow : x;
  x = x > kExpHigh ? kExpHigh : x;
  if (x != x) return x;
  const float n = rintf(x * kExpLog2e);
  const float r = fmaf(n, -kExpLn2Low, fmaf(n, -kExpLn2High, x));
  float p = fmaf(p0, r, p1);
  p = fmaf(p, r, p2);
  p = fmaf(p, r, p3);
  p = fmaf(p, r, p4);
  p = fmaf(p, r, p5);
  const float e = fmaf(p, r * r, r) + 1.0f;
  return e * __uint_as_float(static_cast<unsigned>(static_cast<int>(n) + 127) << 23);
}
__device__ __forceinline__ float SoftmaxExp(float x) { return x < kSoftmaxFloor ? 0.0f : Exp(x); }

// SoftCap of kernels.h.
__device__ __forceinline__ float SoftCapped(float x, float cap) {
  return (cap - __fdiv_rn(2.0f * cap, Exp(x * __fdiv_rn(2.0f, cap)) + 1.0f)) + (x - x);
}

// The warp: lanes 0 to 15 hold those of lanes16; their sum, in all lanes.
__device__ __forceinline__ float SumOfLanes16(float lane) {
  for (int width = 8; width > 0; width /= 2) {
    lane += __shfl_down_sync(kWholeWarp, lane, static_cast<unsigned>(width));
  }
  return __shfl_sync(kWholeWarp, lane, 0);
}

// The warp: 1 / sqrt(mean of the squares of x[0, n) + eps), x in shared or global memory.
__device__ inline float RmsScale(const float* x, int64_t n, float eps) {
  float squares = 0.0f;
  for (int64_t k = Lane() % 16; k < n; k += 16) squares = fmaf(x[k], x[k], squares);
  const float mean = __fdiv_rn(SumOfLanes16(squares), static_cast<float>(n));
  return __fdiv_rn(1.0f, __fsqrt_rn(mean + eps));
}

// Value i of a block of 32 of a quantised type, widened as by Embed; `codes` and 16-bit floats as
// the file has them.
__device__ inline float ReadQuant(DType type, const uint8_t* codes, const uint16_t* scales, int i) {
  const float d = ptx::HalfToFloat(scales[0]);
  if (type == DType::kQ8_0) return d * static_cast<float>(static_cast<int8_t>(codes[i]));
  const int code = i < 16 ? codes[i] & 15 : codes[i - 16] >> 4;
  if (type == DType::kQ4_0) return d * static_cast<float>(code - 8);
  return fmaf(d, static_cast<float>(code), ptx::HalfToFloat(scales[1]));
}
// Value k of a row of floats.
__device__ inline float ReadFloat(DType type, const uint8_t* row, int64_t k) {
  if (type == DType::kF32) return reinterpret_cast<const float*>(row)[k];
  const uint16_t half = reinterpret_cast<const uint16_t*>(row)[k];
  return type == DType::kF16 ? ptx::HalfToFloat(half) : Bf16ToFloat(half);
}

}  // namespace catena::cuda
