// CUDA C++ beyond C++, as far as the kernels of kernels/cuda/ use it, on machine.h: names and
// meanings are those of the CUDA programming guide.
//
// Thread rules: from kernels.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/gpu/emulate/machine.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// CATENA_SHARED(float, tile, [4][8]): a variable of the block's. Not __shared__: a static variable
// would be one for all blocks, zero at first, and without an end that the address sanitizer sees.
#define CATENA_SHARED(T, name, ...)               \
  static const char name##_key = 0;               \
  using name##_type = T __VA_ARGS__;              \
  name##_type& name = *static_cast<name##_type*>( \
      ::catena::emulate::SharedVariable(&name##_key, sizeof(name##_type)))
#define CATENA_DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(::catena::emulate::DynamicShared())

namespace catena::emulate {
// threadIdx and its like, of whichever thread reads them.
template <Index3 ThreadView::*kIndex>
struct BuiltIn {
  template <unsigned Index3::*kComponent>
  struct Component {
    operator unsigned() const { return Self().*kIndex.*kComponent; }
  };
  Component<&Index3::x> x;
  Component<&Index3::y> y;
  Component<&Index3::z> z;
};
}  // namespace catena::emulate
inline constexpr catena::emulate::BuiltIn<&catena::emulate::ThreadView::thread> threadIdx;
inline constexpr catena::emulate::BuiltIn<&catena::emulate::ThreadView::block> blockIdx;
inline constexpr catena::emulate::BuiltIn<&catena::emulate::ThreadView::block_dim> blockDim;
inline constexpr catena::emulate::BuiltIn<&catena::emulate::ThreadView::grid_dim> gridDim;

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline void __syncthreads(catena::emulate::Where w = catena::emulate::Where::Here()) {
  catena::emulate::BlockBarrier(w);
}
inline void __syncwarp(unsigned mask = ~0u,
                       catena::emulate::Where w = catena::emulate::Where::Here()) {
  if (mask != ~0u) catena::emulate::Fail("__syncwarp of a part of a warp", w);
  catena::emulate::Meet("__syncwarp", nullptr, 0, true, w);
}

namespace catena::emulate {
template <class T>
T FromLane(const char* what, unsigned mask, T value, unsigned lane, const Where& where) {
  if (mask != ~0u) Fail(std::string(what) + " of a part of a warp", where);
  const Meeting meeting = Meet(what, &value, sizeof(T), false, where);
  T other;
  std::memcpy(&other, meeting.lane[lane], sizeof(T));
  return other;
}
}  // namespace catena::emulate

template <class T>
T __shfl_sync(unsigned mask, T value, int lane,
              catena::emulate::Where w = catena::emulate::Where::Here()) {
  return catena::emulate::FromLane("__shfl_sync", mask, value, static_cast<unsigned>(lane) % 32, w);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits,
                  catena::emulate::Where w = catena::emulate::Where::Here()) {
  const unsigned lane = (catena::emulate::Self().lane ^ static_cast<unsigned>(bits)) % 32;
  return catena::emulate::FromLane("__shfl_xor_sync", mask, value, lane, w);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by,
                   catena::emulate::Where w = catena::emulate::Where::Here()) {
  const unsigned own = catena::emulate::Self().lane;
  return catena::emulate::FromLane("__shfl_down_sync", mask, value, own + by < 32 ? own + by : own,
                                   w);
}

inline int atomicAdd(int* p, int value) { return __atomic_fetch_add(p, value, __ATOMIC_RELAXED); }

inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
// c + the products of the four signed bytes of each.
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 32; i += 8) c += static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i);
  return c;
}
