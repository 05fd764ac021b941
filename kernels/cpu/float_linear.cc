// The linear layer with float32 activations: one fma chain an output, k ascending. Few rows read
// f16, bf16 and f32 panels as they lie; many rows, and quantised panels, go through a slab of a
// panel widened to float32 in L1.
#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/float_linear.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/vec16-inl.h"

HWY_BEFORE_NAMESPACE();
namespace catena {
namespace HWY_NAMESPACE {

using cpu::kPanelCols;
using cpu::kTileRows;

constexpr int kHalves = kParts == 1 ? 2 : 1;  // vectors of 16 columns in a register tile
constexpr int kSlabDepth = 128;               // k of a widened slab: 16 KiB
constexpr int kPassPanels = 8;                // panels that share a slab of activations in L2
constexpr int kDirectRows = 12;               // up to here 16-bit panels are read as they lie
constexpr int kPrefetchValues = 2048;

HWY_INLINE Vec16 LoadWeights(const float* p) { return Load(p); }
HWY_INLINE Vec16 LoadWeights(const hwy::float16_t* p) {
  return LoadHalf(reinterpret_cast<const uint16_t*>(p));
}
HWY_INLINE Vec16 LoadWeights(const hwy::bfloat16_t* p) {
  return LoadBf16(reinterpret_cast<const uint16_t*>(p));
}

// out[r][...] (rows 32 apart) = what it was, or 0 where `first`, plus `depth` products, for kR rows
// of a tile (`stride` rows) and kHalves * 16 columns.
template <int kR, class T>
void RegisterTile(const T* w, const float* x, int stride, int64_t depth, bool first, float* out) {
  Vec16 acc[kR][kHalves];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kHalves; ++c) {
      acc[r][c] = first ? Set(0.0f) : Load(out + r * kPanelCols + c * 16);
    }
  }
  for (int64_t k = 0; k < depth; ++k, w += kPanelCols, x += stride) {
    if constexpr (sizeof(T) == 2) __builtin_prefetch(w + kPrefetchValues, 0, 3);
    Vec16 columns[kHalves];
    for (int c = 0; c < kHalves; ++c) columns[c] = LoadWeights(w + c * 16);
    for (int r = 0; r < kR; ++r) {
      const Vec16 v = Set(x[r]);
      for (int c = 0; c < kHalves; ++c) acc[r][c] = Fma(v, columns[c], acc[r][c]);
    }
  }
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kHalves; ++c) Store(acc[r][c], out + r * kPanelCols + c * 16);
  }
}

template <class T>
void Tile(const T* w, const float* x, int rows, int64_t depth, bool first, float* out) {
  for (int half = 0; half < 2; half += kHalves, w += kHalves * 16, out += kHalves * 16) {
    switch (rows) {
      case 1:
        RegisterTile<1>(w, x, rows, depth, first, out);
        break;
      case 2:
        RegisterTile<2>(w, x, rows, depth, first, out);
        break;
      case 3:
        RegisterTile<3>(w, x, rows, depth, first, out);
        break;
      case 4:
        RegisterTile<4>(w, x, rows, depth, first, out);
        break;
      case 5:
        RegisterTile<5>(w, x, rows, depth, first, out);
        break;
      case 6:
        RegisterTile<6>(w, x, rows, depth, first, out);
        break;
    }
  }
}

// k in [begin, begin + depth) of a panel for every tile of rows; c: (rows, 32).
template <class T>
void TileColumn(const cpu::FloatLinear& job, const T* w, int64_t begin, int64_t depth, float* c) {
  const auto* activations = reinterpret_cast<const float*>(job.in->data());
  for (int row = 0; row < job.out.rows; row += kTileRows) {
    const int rows = std::min(kTileRows, job.out.rows - row);
    const float* x = activations + row * job.cols + begin * rows;
    Tile(w, x, rows, depth, begin == 0, c + row * kPanelCols);
  }
}

template <class T>
void WidenPlain(const uint8_t* panel, int64_t begin, int64_t depth, float* slab) {
  const T* w = reinterpret_cast<const T*>(panel) + begin * kPanelCols;
  for (int64_t i = 0; i < depth * kPanelCols; i += 16) Store(LoadWeights(w + i), slab + i);
}

// Four k of 16 columns: the bytes of `quads`, each masked and less `offset`, times d, plus m where
// `add`.
HWY_INLINE void WidenQuad(const uint8_t* quads, int shift, uint32_t mask, float offset, Vec16 d,
                          Vec16 m, bool add, float* out) {
  const BitsTag bits;
  const IntTag di;
  for (int k = 0; k < 4; ++k, out += kPanelCols) {
    Vec16 q;
    for (int i = 0; i < kParts; ++i) {
      const auto word = hn::LoadU(bits, reinterpret_cast<const uint32_t*>(quads) + i * kPartLanes);
      const auto byte = hn::And(hn::ShiftRightSame(word, 8 * k + shift), hn::Set(bits, mask));
      q.part[i] = hn::ConvertTo(FloatTag(), hn::BitCast(di, byte));
    }
    q = Sub(q, Set(offset));
    Store(add ? Fma(d, q, m) : Mul(d, q), out);
  }
}

void WidenQuantised(DType dtype, const uint8_t* panel, int64_t begin, int64_t depth, float* slab) {
  const bool q8 = dtype == DType::kQ8_0, q41 = dtype == DType::kQ4_1;
  const float offset = q8 ? 128.0f : q41 ? 0.0f : 8.0f;
  const uint8_t* block = panel + begin / kQuantBlock * cpu::Int8BlockBytes(dtype);
  for (int64_t k = 0; k < depth; k += kQuantBlock, block += cpu::Int8BlockBytes(dtype)) {
    for (int half = 0; half < 2; ++half) {
      const Vec16 d = LoadHalf(reinterpret_cast<const uint16_t*>(block) + half * 16);
      const Vec16 m =
          q41 ? LoadHalf(reinterpret_cast<const uint16_t*>(block + 64) + half * 16) : Set(0.0f);
      const uint8_t* quants = block + (q41 ? 128 : 64) + half * 64;
      float* out = slab + k * kPanelCols + half * 16;
      for (int quad = 0; quad < 8; ++quad, out += 4 * kPanelCols) {
        if (q8) {
          WidenQuad(quants + quad * 128, 0, 255, offset, d, m, q41, out);
        } else {
          WidenQuad(quants + quad / 2 * 128, quad % 2 * 4, 15, offset, d, m, q41, out);
        }
      }
    }
  }
}

void WidenSlab(DType dtype, const uint8_t* panel, int64_t begin, int64_t depth, float* slab) {
  switch (dtype) {
    case DType::kF32:
      return WidenPlain<float>(panel, begin, depth, slab);
    case DType::kF16:
      return WidenPlain<hwy::float16_t>(panel, begin, depth, slab);
    case DType::kBF16:
      return WidenPlain<hwy::bfloat16_t>(panel, begin, depth, slab);
    default:
      return WidenQuantised(dtype, panel, begin, depth, slab);
  }
}

void StorePanel(const cpu::FloatLinear& job, int64_t panel, const float* c) {
  const int64_t column = panel * kPanelCols;
  const int64_t columns = std::min<int64_t>(kPanelCols, job.out.cols - column);
  for (int r = 0; r < job.out.rows; ++r, c += kPanelCols) {
    float* y = job.out.row(r) + column;
    for (int64_t i = 0; i < columns; i += 16) {
      Vec16 v = Load(c + i);
      if (job.add) v = Add(LoadUpTo16(y + i, columns - i), v);
      StoreUpTo16(v, y + i, columns - i);
    }
  }
}

template <class T>
void DirectPanels(const cpu::FloatLinear& job, int64_t panel_bytes, int64_t begin, int64_t end,
                  float* c) {
  for (int64_t p = begin; p < end; ++p) {
    TileColumn(job, reinterpret_cast<const T*>(job.weights + p * panel_bytes), 0, job.cols, c);
    StorePanel(job, p, c);
  }
}

// Panels [begin, end). scratch: a slab, then kPassPanels * rows * 32 floats.
void FloatPanels(const cpu::FloatLinear& job, int64_t panel_bytes, int64_t begin, int64_t end,
                 float* scratch) {
  float *slab = scratch, *c = scratch + kSlabDepth * kPanelCols;
  if (job.dtype == DType::kF32 || (!IsQuantised(job.dtype) && job.out.rows <= kDirectRows)) {
    switch (job.dtype) {
      case DType::kF32:
        return DirectPanels<float>(job, panel_bytes, begin, end, c);
      case DType::kF16:
        return DirectPanels<hwy::float16_t>(job, panel_bytes, begin, end, c);
      default:
        return DirectPanels<hwy::bfloat16_t>(job, panel_bytes, begin, end, c);
    }
  }
  const int64_t panel_floats = int64_t{job.out.rows} * kPanelCols;
  for (int64_t pass = begin; pass < end; pass += kPassPanels) {
    const int64_t pass_end = std::min(end, pass + kPassPanels);
    for (int64_t k = 0; k < job.cols; k += kSlabDepth) {
      const int64_t depth = std::min<int64_t>(kSlabDepth, job.cols - k);
      for (int64_t p = pass; p < pass_end; ++p) {
        WidenSlab(job.dtype, job.weights + p * panel_bytes, k, depth, slab);
        TileColumn(job, slab, k, depth, c + (p - pass) * panel_floats);
      }
    }
    for (int64_t p = pass; p < pass_end; ++p) StorePanel(job, p, c + (p - pass) * panel_floats);
  }
}

int64_t FloatScratchFloats(int rows) {
  return kSlabDepth * kPanelCols + int64_t{rows} * kPassPanels * kPanelCols;
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(FloatPanels);
HWY_EXPORT(FloatScratchFloats);
namespace cpu {

void LinearFloat(Workers& workers, const FloatLinear& job) {
  const auto panels_fn = HWY_DYNAMIC_DISPATCH(FloatPanels);
  const int64_t scratch_bytes = HWY_DYNAMIC_DISPATCH(FloatScratchFloats)(job.out.rows) * 4;
  const int64_t panel_bytes = PanelBytes(job.dtype, job.cols);
  ForPanels(workers, job.out.rows, job.out.cols, [&](int64_t begin, int64_t end, int worker) {
    auto* scratch = reinterpret_cast<float*>(workers.Scratch(worker, scratch_bytes));
    panels_fn(job, panel_bytes, begin, end, scratch);
  });
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
