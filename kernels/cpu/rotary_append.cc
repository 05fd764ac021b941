#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rotary_append.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

void RotateHead(float* x, int half, const float* cosine, const float* sine) {
  for (int i = 0; i < half; i += 16) {
    const int n = half - i;
    const Vec16 a = LoadUpTo16(x + i, n), b = LoadUpTo16(x + half + i, n);
    const Vec16 c = LoadUpTo16(cosine + i, n), s = LoadUpTo16(sine + i, n);
    StoreUpTo16(NegFma(b, s, Mul(a, c)), x + i, n);
    StoreUpTo16(Fma(a, s, Mul(b, c)), x + half + i, n);
  }
}

void Scale(float* x, int64_t n, float scale) {
  for (int64_t i = 0; i < n; i += 16) {
    StoreUpTo16(Mul(LoadUpTo16(x + i, n - i), Set(scale)), x + i, n - i);
  }
}

template <class T>
void StoreKv(Vec16 v, T* out, int n) {
  if constexpr (sizeof(T) == 4) {
    StoreUpTo16(v, out, n);
  } else {
    uint16_t lanes[16];
    StoreHalf(v, lanes);
    for (int i = 0; i < 16 && i < n; ++i) out[i] = lanes[i];
  }
}

// Writes one position's key and value: K [4][head_dim][16], V [64][value_stride].
template <class T>
void Append(const float* k, const float* v, const cpu::KvLayout& layout, int slot, T* block) {
  const int dim = layout.head_dim;
  T* keys = block + slot / 16 * 16 * dim + slot % 16;
  for (int d = 0; d < dim; d += 16) {
    T lanes[16];
    StoreKv(LoadUpTo16(k + d, dim - d), lanes, dim - d);
    for (int i = 0; i < 16 && d + i < dim; ++i) keys[(d + i) * 16] = lanes[i];
  }
  T* values = block + kPagePositions * dim + slot * layout.value_stride();
  for (int d = 0; d < dim; d += 16) StoreKv(LoadUpTo16(v + d, dim - d), values + d, dim - d);
}

void RotaryRow(float* row, const AttentionShape& shape, const float* factors, int page, int slot,
               int layer, const cpu::KvLayout& layout, uint8_t* cache) {
  const int half = shape.rotary_dim / 2, dim = shape.head_dim;
  for (int h = 0; h < shape.heads + shape.kv_heads; ++h) {
    RotateHead(row + h * dim, half, factors, factors + half);
  }
  Scale(row, int64_t{shape.heads} * dim, shape.scale);
  const float* k = row + shape.heads * dim;
  const float* v = k + shape.kv_heads * dim;
  for (int h = 0; h < shape.kv_heads; ++h, k += dim, v += dim) {
    uint8_t* block = cache + layout.Offset(page, layer, h);
    if (layout.half) {
      Append(k, v, layout, slot, reinterpret_cast<uint16_t*>(block));
    } else {
      Append(k, v, layout, slot, reinterpret_cast<float*>(block));
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(RotaryRow);
namespace cpu {

void RotaryAppend(Workers& workers, const FloatRows& qkv, const AttentionShape& shape,
                  const FloatRows& factors, const BatchView& batch, int layer,
                  const KvLayout& layout, uint8_t* cache) {
  const auto row_fn = HWY_DYNAMIC_DISPATCH(RotaryRow);
  constexpr int kRunRows = 8;
  workers.pool.For((batch.rows() + kRunRows - 1) / kRunRows, [&](int64_t run, int) {
    const int begin = static_cast<int>(run) * kRunRows;
    for (int r = begin; r < begin + kRunRows && r < batch.rows(); ++r) {
      const BatchSpan& span = batch.span_of(r);
      const int p = batch.positions[r];
      row_fn(qkv.row(r), shape, factors.row(r), batch.page(span, p), p % kPagePositions, layer,
             layout, cache);
    }
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
