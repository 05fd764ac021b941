// Packs one row of float32 into its tile: the epilogue of Norm, Attention and Gate. Layout:
// layout.h; arithmetic: Linear of kernels.h.
#if defined(CATENA_KERNELS_CPU_PACK_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CATENA_KERNELS_CPU_PACK_ROW_INL_H_
#undef CATENA_KERNELS_CPU_PACK_ROW_INL_H_
#else
#define CATENA_KERNELS_CPU_PACK_ROW_INL_H_
#endif

#include "kernels/cpu/layout.h"
#include "kernels/cpu/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

// The largest magnitude of 32 values, by bit pattern: NaN above infinity above the rest.
HWY_INLINE float BlockMagnitude(const Vec16& a, const Vec16& b) {
  const FloatTag d;
  const IntTag di;
  const auto mask = hn::Set(di, 0x7fffffff);
  auto largest = hn::Zero(di);
  for (int i = 0; i < kParts; ++i) {
    largest = hn::Max(largest, hn::And(hn::BitCast(di, a.part[i]), mask));
    largest = hn::Max(largest, hn::And(hn::BitCast(di, b.part[i]), mask));
  }
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(di, largest));
  return hn::GetLane(hn::BitCast(d, hn::Set(di, bits)));
}

// Writes rint(v * inverse) as 16 int8 and returns their sum.
HWY_INLINE int32_t QuantiseHalf(const Vec16& v, float inverse, int8_t* out) {
  const FloatTag d;
  const IntTag di;
  const hn::Rebind<int8_t, IntTag> d8;
  auto sum = hn::Zero(di);
  for (int i = 0; i < kParts; ++i) {
    const auto q = hn::NearestInt(hn::Mul(v.part[i], hn::Set(d, inverse)));
    const auto narrow = hn::DemoteTo(d8, q);
    hn::StoreU(narrow, d8, out + i * kPartLanes);
    sum = hn::Add(sum, hn::PromoteTo(di, narrow));
  }
  return hn::GetLane(hn::SumOfLanes(di, sum));
}

HWY_INLINE void PackRowInt8(const float* x, int64_t cols, int rows, int row, uint8_t* tile) {
  for (int64_t k = 0; k < cols; k += kQuantBlock, tile += rows * cpu::kTileRowBlockBytes) {
    const Vec16 a = Load(x + k), b = Load(x + k + 16);
    const float magnitude = BlockMagnitude(a, b);
    const bool zero = magnitude < kQuantiseFloor;
    const float scale = zero ? 0.0f : magnitude / 127.0f;
    const float inverse = zero ? 0.0f : 1.0f / scale;
    int8_t* quants = reinterpret_cast<int8_t*>(tile) + row * 32;
    const int32_t first = QuantiseHalf(a, inverse, quants);
    const int32_t sum = first + QuantiseHalf(b, inverse, quants + 16);
    auto* sums = reinterpret_cast<int16_t*>(tile + rows * 32);
    sums[row] = static_cast<int16_t>(sum);
    sums[rows + row] = static_cast<int16_t>(first);
    auto* scales = reinterpret_cast<float*>(tile + rows * 36);
    scales[row] = scale;
    scales[rows + row] = scale * static_cast<float>(sum);
  }
}

// Rounded to nearest even; NaN stays NaN.
HWY_INLINE void StoreBf16(const Vec16& v, uint16_t* out) {
  const BitsTag d;
  for (int i = 0; i < kParts; ++i) {
    const auto bits = hn::BitCast(d, v.part[i]);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1));
    const auto rounded = hn::Add(hn::Add(bits, hn::Set(d, 0x7fff)), odd);
    const auto quiet = hn::Or(bits, hn::Set(d, 0x400000));
    const auto is_nan = hn::RebindMask(d, hn::IsNaN(v.part[i]));
    const auto upper = hn::ShiftRight<16>(hn::IfThenElse(is_nan, quiet, rounded));
    hn::StoreU(hn::DemoteTo(Bf16Tag(), hn::BitCast(IntTag(), upper)), Bf16Tag(),
               out + i * kPartLanes);
  }
}

HWY_INLINE void PackRowBf16(const float* x, int64_t cols, int rows, int row, uint8_t* tile) {
  tile += row * 4;
  for (int64_t k = 0; k < cols; k += 16) {
    uint16_t rounded[16];
    StoreBf16(LoadUpTo16(x + k, cols - k), rounded);
    for (int64_t i = 0; i < 16 && k + i < cols; i += 2, tile += rows * 4) {
      __builtin_memcpy(tile, rounded + i, 4);
    }
  }
}

// Row `row` of a tile of `rows` rows.
HWY_INLINE void PackRow(const float* x, int64_t cols, InputFormat format, int rows, int row,
                        uint8_t* tile) {
  switch (format) {
    case InputFormat::kInt8:
      return PackRowInt8(x, cols, rows, row, tile);
    case InputFormat::kBf16:
      return PackRowBf16(x, cols, rows, row, tile);
    case InputFormat::kF32:
      float* out = reinterpret_cast<float*>(tile) + row;
      for (int64_t k = 0; k < cols; ++k) out[k * rows] = x[k];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
