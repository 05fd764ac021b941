// The linear layer with float32 activations: one fma chain an output, k ascending. Few rows read
// f16 and bf16 panels as they lie; many rows, and quantised panels, go through a slab of a panel
// widened to float32 in L1. With bf16 activations: pairs of k, as the panels have them.
#include <algorithm>
#include <bit>
#include <type_traits>

#include <immintrin.h>

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
constexpr int kSlabBytes = 16 << 10;          // of weights that stay in L1 for all rows
constexpr int kPassPanels = 8;                // panels that share a slab of activations in L2
constexpr int kDirectRows = 12;               // up to here 16-bit panels are not widened
constexpr int kPrefetchBytes = 4096;

// How weights are multiplied, a *step* of kDepth inputs at a time. Activation: what a tile holds
// for a row and a step. Weight: what a panel holds for a column and kWeightSteps steps. Mode: of
// the arithmetic, on while it lives.
struct InUsualMode {};

template <class T>
struct Values {
  using Weight = T;
  using Activation = float;
  using Mode = InUsualMode;
  static constexpr int kDepth = 1, kWeightSteps = 1;

  static Vec16 Columns(const float* w, int) { return Load(w); }
  static Vec16 Columns(const hwy::float16_t* w, int) {
    return LoadHalf(reinterpret_cast<const uint16_t*>(w));
  }
  static Vec16 Broadcast(float x) { return Set(x); }
  static Vec16 MulAdd(const Vec16& x, const Vec16& w, const Vec16& acc) { return Fma(x, w, acc); }
};

HWY_INLINE Vec16 LowerOfPairs(Vec16 pairs) {
  for (auto& part : pairs.part) {
    part = hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::BitCast(BitsTag(), part)));
  }
  return pairs;
}
HWY_INLINE Vec16 UpperOfPairs(Vec16 pairs) {
  for (auto& part : pairs.part) {
    const auto bits = hn::BitCast(BitsTag(), part);
    part = hn::BitCast(FloatTag(), hn::And(bits, hn::Set(BitsTag(), 0xffff0000)));
  }
  return pairs;
}
HWY_INLINE Vec16 LoadPairs(const uint32_t* p) { return Load(reinterpret_cast<const float*>(p)); }

// Pairs of bf16 weights with float32 activations.
struct WidenedPairs : Values<float> {
  using Weight = uint32_t;
  static constexpr int kWeightSteps = 2;

  static Vec16 Columns(const uint32_t* w, int step) {
    return step == 0 ? LowerOfPairs(LoadPairs(w)) : UpperOfPairs(LoadPairs(w));
  }
};

// While it lives, subnormal operands and results are zeros on this thread.
class FlushSubnormals {
 public:
  FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushSubnormals() { _mm_setcsr(before_); }

 private:
  const unsigned before_;
};

// Pairs of bf16 with pairs of bf16.
struct Pairs {
  using Weight = uint32_t;
  using Activation = uint32_t;
  using Mode = FlushSubnormals;
  static constexpr int kDepth = 2, kWeightSteps = 1;

  static Vec16 Columns(const uint32_t* w, int) { return LoadPairs(w); }
  static Vec16 Broadcast(uint32_t x) { return Set(std::bit_cast<float>(x)); }
  static Vec16 MulAdd(const Vec16& x, const Vec16& w, const Vec16& acc) {
    return Fma(LowerOfPairs(x), LowerOfPairs(w), Fma(UpperOfPairs(x), UpperOfPairs(w), acc));
  }
};

#if HWY_TARGET == HWY_AVX3
// The same in one instruction of AVX-512 BF16, which is not in Highway's target.
struct Bf16Pairs : Pairs {
  using Mode = InUsualMode;

  static Vec16 MulAdd(const Vec16& x, const Vec16& w, Vec16 acc) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc.part[0].raw) : "v"(x.part[0].raw), "v"(w.part[0].raw));
    return acc;
  }
};
#else
using Bf16Pairs = Pairs;
#endif

template <class P>
int64_t Steps(const cpu::FloatLinear& job) {
  return (job.cols + P::kDepth - 1) / P::kDepth;
}

// One step of kR rows and kHalves * 16 columns.
template <int kR, class P>
HWY_INLINE void Step(const typename P::Weight* w, int step, const typename P::Activation* x,
                     Vec16 (&acc)[kR][kHalves]) {
  Vec16 columns[kHalves];
  for (int c = 0; c < kHalves; ++c) columns[c] = P::Columns(w + c * 16, step);
  for (int r = 0; r < kR; ++r) {
    const Vec16 v = P::Broadcast(x[r]);
    for (int c = 0; c < kHalves; ++c) acc[r][c] = P::MulAdd(v, columns[c], acc[r][c]);
  }
}

// out[r][...] (rows 32 apart) = what it was, or 0 where `first`, plus `steps` products, for kR rows
// of a tile (`stride` rows) and kHalves * 16 columns.
template <int kR, class P>
void RegisterTile(const typename P::Weight* w, const typename P::Activation* x, int stride,
                  int64_t steps, bool first, float* out) {
  Vec16 acc[kR][kHalves];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kHalves; ++c) {
      acc[r][c] = first ? Set(0.0f) : Load(out + r * kPanelCols + c * 16);
    }
  }
  for (; steps >= P::kWeightSteps; steps -= P::kWeightSteps, w += kPanelCols) {
    const auto* ahead = reinterpret_cast<const uint8_t*>(w) + kPrefetchBytes;
    for (size_t i = 0; i < kHalves * 16 * sizeof(*w); i += 64) __builtin_prefetch(ahead + i, 0, 3);
    for (int i = 0; i < P::kWeightSteps; ++i, x += stride) Step<kR, P>(w, i, x, acc);
  }
  if (steps > 0) Step<kR, P>(w, 0, x, acc);
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kHalves; ++c) Store(acc[r][c], out + r * kPanelCols + c * 16);
  }
}

template <class P>
void Tile(const typename P::Weight* w, const typename P::Activation* x, int rows, int64_t steps,
          bool first, float* out) {
  for (int half = 0; half < 2; half += kHalves, w += kHalves * 16, out += kHalves * 16) {
    switch (rows) {
      case 1:
        RegisterTile<1, P>(w, x, rows, steps, first, out);
        break;
      case 2:
        RegisterTile<2, P>(w, x, rows, steps, first, out);
        break;
      case 3:
        RegisterTile<3, P>(w, x, rows, steps, first, out);
        break;
      case 4:
        RegisterTile<4, P>(w, x, rows, steps, first, out);
        break;
      case 5:
        RegisterTile<5, P>(w, x, rows, steps, first, out);
        break;
      case 6:
        RegisterTile<6, P>(w, x, rows, steps, first, out);
        break;
    }
  }
}

// Steps [begin, begin + steps) of a panel for every tile of rows; c: (rows, 32). Not inlined, so
// that it runs between the two switches of P::Mode.
template <class P>
HWY_NOINLINE void TileColumn(const cpu::FloatLinear& job, const typename P::Weight* w,
                             int64_t begin, int64_t steps, float* c) {
  const auto* activations = reinterpret_cast<const typename P::Activation*>(job.in->data());
  for (int row = 0; row < job.out.rows; row += kTileRows) {
    const int rows = std::min(kTileRows, job.out.rows - row);
    const auto* x = activations + row * Steps<P>(job) + begin * rows;
    Tile<P>(w, x, rows, steps, begin == 0, c + row * kPanelCols);
  }
}

template <class P>
void WidenValues(const uint8_t* panel, int64_t begin, int64_t depth, float* slab) {
  const auto* w = reinterpret_cast<const typename P::Weight*>(panel);
  for (int64_t k = begin; k < begin + depth; ++k, slab += kPanelCols) {
    const auto* columns = w + k / P::kWeightSteps * kPanelCols;
    const int step = static_cast<int>(k % P::kWeightSteps);
    for (int c = 0; c < kPanelCols; c += 16) Store(P::Columns(columns + c, step), slab + c);
  }
}

// Four k of 16 columns: the bytes of `quad` less `offset`, times d, plus m where `add`.
HWY_INLINE void WidenQuad(const uint8_t* quad, float offset, Vec16 d, Vec16 m, bool add,
                          float* out) {
  const BitsTag bits;
  const IntTag di;
  for (int k = 0; k < 4; ++k, out += kPanelCols) {
    Vec16 q;
    for (int i = 0; i < kParts; ++i) {
      const auto word = hn::LoadU(bits, reinterpret_cast<const uint32_t*>(quad) + i * kPartLanes);
      const auto byte = hn::And(hn::ShiftRightSame(word, 8 * k), hn::Set(bits, 255));
      q.part[i] = hn::ConvertTo(FloatTag(), hn::BitCast(di, byte));
    }
    q = Sub(q, Set(offset));
    Store(add ? Fma(d, q, m) : Mul(d, q), out);
  }
}

// Blocks of a panel unpacked, and those widened.
void WidenQuantised(const cpu::FloatLinear& job, const uint8_t* panel, int64_t begin, int64_t depth,
                    float* slab) {
  const QuantFormat f = Quantisation(job.dtype);
  const auto offset = static_cast<float>(cpu::UnpackedOffset(job.dtype));
  alignas(64) uint8_t unpacked[cpu::UnpackedBytes(2)];
  for (int64_t k = begin; k < begin + depth; k += kQuantBlock, slab += kQuantBlock * kPanelCols) {
    job.unpack(panel, static_cast<int>(k / kQuantBlock), 1, unpacked);
    for (int half = 0; half < 2; ++half) {
      for (int quad = 0; quad < 8; ++quad) {
        const float* scales = reinterpret_cast<const float*>(
            unpacked + cpu::kUnpackedScales + quad * f.groups / 8 * cpu::kUnpackedGroupBytes);
        const Vec16 d = Load(scales + half * 16);
        const Vec16 m = f.minimum ? Load(scales + 64 + half * 16) : Set(0.0f);
        WidenQuad(unpacked + quad * 128 + half * 64, offset, d, m, f.minimum,
                  slab + quad * 4 * kPanelCols + half * 16);
      }
    }
  }
}

void WidenSlab(const cpu::FloatLinear& job, const uint8_t* panel, int64_t begin, int64_t depth,
               float* slab) {
  switch (job.dtype) {
    case DType::kF16:
      return WidenValues<Values<hwy::float16_t>>(panel, begin, depth, slab);
    case DType::kBF16:
      return WidenValues<WidenedPairs>(panel, begin, depth, slab);
    default:
      return WidenQuantised(job, panel, begin, depth, slab);
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

// Panels as they lie.
template <class P>
struct InPlace : P {
  static const typename P::Weight* Slab(const cpu::FloatLinear&, const uint8_t* panel,
                                        int64_t begin, int64_t, float*) {
    return reinterpret_cast<const typename P::Weight*>(panel) +
           begin / P::kWeightSteps * kPanelCols;
  }
};

// Panels widened, a slab at a time.
struct Widened : Values<float> {
  static const float* Slab(const cpu::FloatLinear& job, const uint8_t* panel, int64_t begin,
                           int64_t steps, float* slab) {
    WidenSlab(job, panel, begin, steps, slab);
    return slab;
  }
};

// Panels [begin, end), the slabs of kPassPanels panels one after the other. One tile of rows, or
// two, take a panel in one go: a slab has nothing to wait in L1 for.
template <class P>
void MultiplyPanels(const cpu::FloatLinear& job, int64_t begin, int64_t end, float* scratch) {
  constexpr int64_t kSlabSteps = kSlabBytes / kPanelCols / sizeof(typename P::Weight);
  const int64_t all = Steps<P>(job), panel_bytes = cpu::PanelBytes(job.dtype, job.cols);
  const bool whole = !std::is_same_v<P, Widened> && job.out.rows <= kDirectRows;
  const int64_t slab_steps = whole ? all : kSlabSteps * P::kWeightSteps;
  const int64_t panel_floats = int64_t{job.out.rows} * kPanelCols;
  float *slab = scratch, *c = scratch + kSlabBytes / sizeof(float);
  for (int64_t pass = begin; pass < end; pass += kPassPanels) {
    const int64_t pass_end = std::min(end, pass + kPassPanels);
    for (int64_t k = 0; k < all; k += slab_steps) {
      const int64_t steps = std::min(slab_steps, all - k);
      for (int64_t p = pass; p < pass_end; ++p) {
        const auto* w = P::Slab(job, job.weights + p * panel_bytes, k, steps, slab);
        [[maybe_unused]] const typename P::Mode mode;
        TileColumn<P>(job, w, k, steps, c + (p - pass) * panel_floats);
      }
    }
    for (int64_t p = pass; p < pass_end; ++p) StorePanel(job, p, c + (p - pass) * panel_floats);
  }
}

// Panels [begin, end). scratch: FloatScratchFloats.
void FloatPanels(const cpu::FloatLinear& job, int64_t begin, int64_t end, float* scratch) {
  if (job.in->format() == InputFormat::kBf16) {
    return job.has_bf16 ? MultiplyPanels<InPlace<Bf16Pairs>>(job, begin, end, scratch)
                        : MultiplyPanels<InPlace<Pairs>>(job, begin, end, scratch);
  }
  const bool few = job.out.rows <= kDirectRows;
  if (job.dtype == DType::kF32) {
    return MultiplyPanels<InPlace<Values<float>>>(job, begin, end, scratch);
  }
  if (job.dtype == DType::kF16 && few) {
    return MultiplyPanels<InPlace<Values<hwy::float16_t>>>(job, begin, end, scratch);
  }
  if (job.dtype == DType::kBF16 && few) {
    return MultiplyPanels<InPlace<WidenedPairs>>(job, begin, end, scratch);
  }
  return MultiplyPanels<Widened>(job, begin, end, scratch);
}

int64_t FloatScratchFloats(int rows) {
  return kSlabBytes / static_cast<int64_t>(sizeof(float)) +
         int64_t{rows} * kPassPanels * kPanelCols;
}

}  // namespace HWY_NAMESPACE
}  // namespace catena
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace catena {
HWY_EXPORT(FloatPanels);
HWY_EXPORT(FloatScratchFloats);
namespace cpu {

int64_t FloatScratchBytes(int rows) {
  return HWY_DYNAMIC_DISPATCH(FloatScratchFloats)(rows) * int64_t{sizeof(float)};
}

void FloatPanels(const FloatLinear& job, int64_t begin, int64_t end, uint8_t* scratch) {
  HWY_DYNAMIC_DISPATCH(FloatPanels)(job, begin, end, reinterpret_cast<float*>(scratch));
}

}  // namespace cpu
}  // namespace catena
#endif  // HWY_ONCE
