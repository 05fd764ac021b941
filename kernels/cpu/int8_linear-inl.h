// The int8 linear layer, written once over a small set of vector operations. An instruction set's
// file defines `struct Isa`, opens its target attributes and an anonymous namespace, and includes
// this. Layouts: layout.h. Arithmetic: Linear of kernels.h.
//
// Isa has: IntVec (16 int32), FloatVec (16 floats), ByteVec (64 bytes: 16 columns x 4 k); kRows, of
// a register tile, and HalvesOf(rows), its vectors of 16 columns; kBytesOffset, what codes of eight
// bits are more than the values that are multiplied; kWholeRows, up to which a panel is read once.
// With kSumsPairs: PairVec (32 int16), Pairs, SignedPairs (of codes of eight bits), AddPairs, and
// AddFours, which adds them to int32. Without: Dot, which adds fours at once.
#pragma once

#include "kernels/cpu/int8_panels-inl.h"

namespace catena::cpu {
namespace {

constexpr int kPassPanels = 8;        // panels that share a slab of activations while it is in L2
constexpr int kDirectRows = 64;       // up to here weights are unpacked anew for each tile of rows
constexpr int kPrefetchBytes = 8192;  // ahead, into L2
// While a block's arithmetic is this short, the processor's own prefetchers are ahead of it, and
// what asks for more only takes turns from loads.
constexpr int UnprefetchedRows(DType type) { return type == DType::kQ4_1 ? 2 : 4; }

// Blocks of a slab at most: an unpacked slab of a panel is 45 KB.
constexpr int MaxSlabBlocks(int groups) { return groups == 1 ? 32 : 24; }
static_assert(MaxSlabBlocks(1) * UnpackedBytes(1) <= kInt8SlabBytes);
static_assert(MaxSlabBlocks(2) * UnpackedBytes(2) <= kInt8SlabBytes);

// Slabs of about the same number of blocks: a short one costs as much around it as a long one.
template <class Panel>
int SlabBlocks(int blocks) {
  constexpr int kMost = MaxSlabBlocks(Panel::kGroups);
  const int slabs = (blocks + kMost - 1) / kMost;
  const int heads = (blocks + slabs * Panel::kBlocks - 1) / (slabs * Panel::kBlocks);
  return heads * Panel::kBlocks;
}

// Where a register tile reads: column halves of a panel's blocks, packed or unpacked.
struct Source {
  const uint8_t* weights;      // the first block, or its head
  const uint8_t* activations;  // first block of the tile
  int tile_rows;               // rows of the tile
  int row;                     // the first that is computed
  int half;                    // the first column half
  int blocks;
  int offset;     // of codes that are multiplied
  bool prefetch;  // what comes next of the weights
};

// Where its sums go: to `sums` from slab to slab, and out with the last.
struct Target {
  float* sums;                       // (rows, 32)
  float* out;                        // columns of the layer's output, or sums
  int64_t stride;                    // of a row of `out`
  bool add;                          // to what `out` holds
  bool first = false, last = false;  // slab of K
};

// Eight values of a tile's rows, of which a tile has kTileRows.
using EightInts = int32_t __attribute__((vector_size(32)));
using EightFloats = float __attribute__((vector_size(32)));

// What the rows of a block's group begin with: the integer sums, and scale * sum of the quants.
struct Starts {
  alignas(32) int32_t sum[8];
  alignas(32) float scaled[8];
};

inline EightInts LoadSums(const int16_t* p) {
  int16_t __attribute__((vector_size(16))) v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, EightInts);
}

// What follows a block's quants, at the first row.
struct Tail {
  const int16_t *sum, *first;   // of the quants, of the first 16
  const float *scale, *scaled;  // scaled: scale * sum
};
inline __attribute__((always_inline)) Tail TailOf(const uint8_t* a, int tile_rows, int row) {
  const auto* sums = reinterpret_cast<const int16_t*>(a + tile_rows * 32) + row;
  const auto* scales = reinterpret_cast<const float*>(a + tile_rows * 36) + row;
  return {sums, sums + tile_rows, scales, scales + tile_rows};
}

// Of types with two groups. Reads past the tile's last row, and leaves there what nobody reads.
template <class Panel, int kGroup, int kR>
inline __attribute__((always_inline)) void MakeStarts(const Tail& tail, int offset,
                                                      Starts* starts) {
  const EightInts first = LoadSums(tail.first);
  const EightInts sums = kGroup == 0 ? first : LoadSums(tail.sum) - first;
  const EightInts start = kMagicBits - sums * Panel::Offset(offset);
  __builtin_memcpy(starts->sum, &start, sizeof start);
  if constexpr (Panel::kMinimum) {
    EightFloats scales;
    __builtin_memcpy(&scales, tail.scale, sizeof scales);
    const EightFloats scaled = scales * __builtin_convertvector(sums, EightFloats);
    __builtin_memcpy(starts->scaled, &scaled, sizeof scaled);
  }
  // Several rows are broadcast from memory: out of a register that would be a shuffle each, which
  // the compiler would choose.
  if constexpr (kR > 1) asm("" : "+m"(*starts));
}

// Adds quads [kQuad, kEnd) of a block to the rows' sums. `V`: Isa, one of whose two ways this is.
template <class V, class Panel, int kQuad, int kEnd, int kR, int kH>
inline __attribute__((always_inline)) void DotQuads(const uint8_t* codes, const uint8_t* x,
                                                    typename V::IntVec (&acc)[kR][kH]) {
  if constexpr (kQuad < kEnd) {
    typename V::ByteVec w[kH];
    for (int c = 0; c < kH; ++c) w[c] = Panel::template Codes<kQuad>(codes + c * 64);
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      const auto xs = V::Broadcast4(x + r * 32 + kQuad * 4);
      for (int c = 0; c < kH; ++c) acc[r][c] = V::Dot(acc[r][c], w[c], xs);
    }
    DotQuads<V, Panel, kQuad + 1, kEnd, kR, kH>(codes, x, acc);
  }
}

// How many quads' pairs of products a sum of 16 bits holds, for codes of so many bits.
constexpr int QuadsASum(int bits) {
  return bits == 8 ? 1 : INT16_MAX / (((1 << bits) - 1) * 2 * 127);
}

// The sums of pairs of quads [kQuad, kEnd), which hold them: kSum says whether there are some.
template <class V, class Panel, int kQuad, int kEnd, bool kSum, int kR, int kH>
inline __attribute__((always_inline)) void SumQuads(const uint8_t* codes, const uint8_t* x,
                                                    typename V::PairVec (&sums)[kR][kH]) {
  if constexpr (kQuad < kEnd) {
    typename V::ByteVec w[kH];
    for (int c = 0; c < kH; ++c) w[c] = Panel::template Codes<kQuad>(codes + c * 64);
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      const auto xs = V::Broadcast4(x + r * 32 + kQuad * 4);
      for (int c = 0; c < kH; ++c) {
        typename V::PairVec pairs;
        if constexpr (Panel::kBits == 8) {
          pairs = V::SignedPairs(w[c], xs);
        } else {
          pairs = V::Pairs(w[c], xs);
        }
        sums[r][c] = kSum ? V::AddPairs(sums[r][c], pairs) : pairs;
      }
    }
    SumQuads<V, Panel, kQuad + 1, kEnd, true, kR, kH>(codes, x, sums);
  }
}

// As DotQuads, by way of sums of pairs.
template <class V, class Panel, int kQuad, int kEnd, int kR, int kH>
inline __attribute__((always_inline)) void PairQuads(const uint8_t* codes, const uint8_t* x,
                                                     typename V::IntVec (&acc)[kR][kH]) {
  if constexpr (kQuad < kEnd) {
    constexpr int kFit = kQuad + QuadsASum(Panel::kBits), kNext = kFit < kEnd ? kFit : kEnd;
    typename V::PairVec sums[kR][kH];
    SumQuads<V, Panel, kQuad, kNext, false, kR, kH>(codes, x, sums);
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      for (int c = 0; c < kH; ++c) acc[r][c] = V::AddFours(acc[r][c], sums[r][c]);
    }
    PairQuads<V, Panel, kNext, kEnd, kR, kH>(codes, x, acc);
  }
}

// One group of a block: its integer sums, scaled, added to the rows' own.
template <class Panel, int kGroup, int kR, int kH>
inline __attribute__((always_inline)) void AddGroup(const Source& s, const uint8_t* head, int block,
                                                    const uint8_t* codes, const uint8_t* a,
                                                    typename Isa::FloatVec (&f)[kR][kH]) {
  constexpr int kQuads = 8 / Panel::kGroups;
  // Codes that are multiplied as they are need no sum, nor do those of eight bits where they are
  // made signed.
  constexpr bool kOffset = !Panel::kMinimum && (Panel::kBits < 8 || Isa::kBytesOffset != 0);
  const Tail tail = TailOf(a, s.tile_rows, s.row);
  Starts starts;
  if constexpr (Panel::kGroups == 2 && (kOffset || Panel::kMinimum)) {
    MakeStarts<Panel, kGroup, kR>(tail, s.offset, &starts);
  }
  const float* scaled = Panel::kGroups == 2 ? starts.scaled : tail.scaled;
  typename Isa::IntVec acc[kR][kH];
#pragma GCC unroll 8
  for (int r = 0; r < kR; ++r) {
    int32_t start = kMagicBits;
    if constexpr (kOffset && Panel::kGroups == 2) start = starts.sum[r];
    if constexpr (kOffset && Panel::kGroups == 1) {
      start -= tail.sum[r] * Panel::Offset(s.offset);
      // In a general register, whose units have nothing else to do.
      asm("" : "+r"(start));
    }
    for (int c = 0; c < kH; ++c) acc[r][c] = Isa::SetInt(start);
  }
  const uint8_t* half = codes + s.half * 64;
  const uint8_t* x = a + s.row * 32;
  constexpr int kFirst = kGroup * kQuads, kEnd = kFirst + kQuads;
  if constexpr (Isa::kSumsPairs) {
    PairQuads<Isa, Panel, kFirst, kEnd, kR, kH>(half, x, acc);
  } else {
    DotQuads<Isa, Panel, kFirst, kEnd, kR, kH>(half, x, acc);
  }
  for (int c = 0; c < kH; ++c) {
    const Scales w = Panel::Load(head, block, kGroup, (s.half + c) * 16);
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      const auto y = Isa::Fma(Isa::AsFloat(acc[r][c]), w.d, w.negated);
      f[r][c] = Isa::Fma(y, Isa::Set(tail.scale[r]), f[r][c]);
      if constexpr (Panel::kMinimum) {
        f[r][c] = Isa::Fma(w.minimum, Isa::Set(scaled[r]), f[r][c]);
      }
    }
  }
}

inline void Prefetch(const uint8_t* p, int bytes) {
  for (int i = 0; i < bytes; i += 64) __builtin_prefetch(p + i + kPrefetchBytes, 0, 2);
}

// The blocks of `s` for kR rows.
template <class Panel, int kR>
void RegisterTile(const Source& s, const Target& t) {
  constexpr int kH = Isa::HalvesOf(kR);
  typename Isa::FloatVec f[kR][kH];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kH; ++c) {
      f[r][c] = t.first ? Isa::Set(0.0f) : Isa::Load(t.sums + r * 32 + c * 16);
    }
  }
  const uint8_t* head = s.weights;
  const uint8_t* a = s.activations;
  for (int b = 0; b < s.blocks; b += Panel::kBlocks) {
    const uint8_t* codes = head + Panel::kHeadBytes;
    if (s.prefetch) Prefetch(head, Panel::kHeadBytes);
    for (int i = 0; i < Panel::kBlocks; ++i, codes += Panel::kBlockBytes) {
      if (s.prefetch) Prefetch(codes, Panel::kBlockBytes);
      AddGroup<Panel, 0, kR, kH>(s, head, i, codes, a, f);
      if constexpr (Panel::kGroups == 2) AddGroup<Panel, 1, kR, kH>(s, head, i, codes, a, f);
      a += s.tile_rows * kTileRowBlockBytes;
    }
    head = codes;
  }
  float* out = t.last ? t.out : t.sums;
  const int64_t stride = t.last ? t.stride : 32;
  const bool add = t.last && t.add;
  for (int r = 0; r < kR; ++r, out += stride) {
    for (int c = 0; c < kH; ++c) {
      if (add) f[r][c] = Isa::Add(Isa::Load(out + c * 16), f[r][c]);
      Isa::Store(f[r][c], out + c * 16);
    }
  }
}

template <class Panel>
void RegisterTileOf(int rows, const Source& s, const Target& t) {
  static_assert(Isa::kRows == 6 || Isa::kRows == 3);
  switch (rows) {
    case 1:
      return RegisterTile<Panel, 1>(s, t);
    case 2:
      return RegisterTile<Panel, 2>(s, t);
    case 3:
      return RegisterTile<Panel, 3>(s, t);
  }
  if constexpr (Isa::kRows == 6) {
    switch (rows) {
      case 4:
        return RegisterTile<Panel, 4>(s, t);
      case 5:
        return RegisterTile<Panel, 5>(s, t);
      case 6:
        return RegisterTile<Panel, 6>(s, t);
    }
  }
}

// A whole activation tile times a panel's blocks. `t`: of its first row and column.
template <class Panel>
void Tile(Source s, bool prefetch, const Target& t) {
  for (s.row = 0; s.row < s.tile_rows; s.row += Isa::kRows) {
    const int rows = s.tile_rows - s.row < Isa::kRows ? s.tile_rows - s.row : Isa::kRows;
    for (s.half = 0; s.half < 2; s.half += Isa::HalvesOf(rows)) {
      Target part = t;
      part.sums += s.row * 32 + s.half * 16;
      part.out += s.row * t.stride + s.half * 16;
      s.prefetch = prefetch && s.row == 0 && s.half == 0;
      RegisterTileOf<Panel>(rows, s, part);
    }
  }
}

// Blocks [block, block + n) of one panel of type kType, from `w` on, for every tile of rows. `t`:
// of the first row.
template <DType kType, class Panel>
void TileColumn(const Int8Linear& job, const uint8_t* w, int block, int n, bool prefetch,
                Target t) {
  t.first = block == 0;
  t.last = (block + n) * int64_t{kQuantBlock} == job.cols;
  for (int row = 0; row < job.rows; row += kTileRows) {
    const int rows = job.rows - row < kTileRows ? job.rows - row : kTileRows;
    const uint8_t* tile = job.activations + TileBytes(InputFormat::kInt8, row, job.cols);
    const Source s{.weights = w,
                   .activations = tile + int64_t{block} * rows * kTileRowBlockBytes,
                   .tile_rows = rows,
                   .row = 0,
                   .half = 0,
                   .blocks = n,
                   .offset = UnpackedOffset(kType),
                   .prefetch = false};
    Tile<Panel>(s, prefetch && row == 0, t);
    t.sums += int64_t{rows} * 32;
    t.out += rows * t.stride;
  }
}

// Columns of a panel that exist are stored, or added to what is there.
void StorePanel(const Int8Linear& job, int64_t panel, const float* sums) {
  const int64_t column = panel * kPanelCols;
  const int64_t columns = job.out.cols - column < 32 ? job.out.cols - column : 32;
  for (int r = 0; r < job.rows; ++r, sums += 32) {
    float* y = job.out.row(r) + column;
    if (columns == 32) {
      for (int i = 0; i < 32; i += 16) {
        auto v = Isa::Load(sums + i);
        if (job.add) v = Isa::Add(Isa::Load(y + i), v);
        Isa::Store(v, y + i);
      }
    } else {
      for (int64_t i = 0; i < columns; ++i) y[i] = job.add ? y[i] + sums[i] : sums[i];
    }
  }
}

// Few rows: weights are unpacked anew for each tile of rows, and the last slab's sums go out from
// registers. One tile takes the whole panel at a time; several share slabs of it while they are in
// L1.
template <DType kType>
void DirectPanel(const Int8Linear& job, int64_t panel, const uint8_t* w, float* sums) {
  using Panel = Packed<kType>;
  const int blocks = static_cast<int>(job.cols / kQuantBlock);
  const int step = job.rows <= Isa::kWholeRows ? blocks : SlabBlocks<Panel>(blocks);
  const bool whole = (panel + 1) * kPanelCols <= job.out.cols;
  Target target = {.sums = sums, .out = sums, .stride = 32, .add = false};
  if (whole) {
    target.out = job.out.row(0) + panel * kPanelCols;
    target.stride = job.out.stride;
    target.add = job.add;
  }
  for (int b = 0; b < blocks; b += step) {
    const int n = blocks - b < step ? blocks - b : step;
    TileColumn<kType, Panel>(job, w + b / Panel::kBlocks * Panel::kPanel.bytes(), b, n,
                             job.rows > UnprefetchedRows(kType), target);
  }
  if (!whole) StorePanel(job, panel, sums);
}

// Many rows: slabs of kPassPanels panels are unpacked once each, and read the same activations
// while those are in L2. Sums wait in `sums`: rows of `out` are pages apart.
template <DType kType>
void SlabPanels(const Int8Linear& job, int64_t begin, int64_t end, uint8_t* slab, float* sums) {
  const int blocks = static_cast<int>(job.cols / kQuantBlock);
  const int step = SlabBlocks<Packed<kType>>(blocks);
  const int64_t panel_bytes = PanelBytes(kType, job.cols), panel_floats = int64_t{job.rows} * 32;
  for (int b = 0; b < blocks; b += step) {
    const int n = blocks - b < step ? blocks - b : step;
    for (int64_t p = begin; p < end; ++p) {
      float* panel_sums = sums + (p - begin) * panel_floats;
      Unpack<kType>(job.weights + p * panel_bytes, b, n, slab);
      TileColumn<kType, UnpackedAs<kType>>(
          job, slab, b, n, /*prefetch=*/false,
          {.sums = panel_sums, .out = panel_sums, .stride = 32, .add = false});
    }
  }
  for (int64_t p = begin; p < end; ++p) StorePanel(job, p, sums + (p - begin) * panel_floats);
}

// See int8_linear.h.
template <DType kType>
void Panels(const Int8Linear& job, int64_t begin, int64_t end, uint8_t* scratch) {
  float* sums = reinterpret_cast<float*>(scratch + kInt8SlabBytes);
  if (job.rows <= kDirectRows) {
    for (int64_t p = begin; p < end; ++p) {
      DirectPanel<kType>(job, p, job.weights + p * PanelBytes(kType, job.cols), sums);
    }
    return;
  }
  for (int64_t pass = begin; pass < end; pass += kPassPanels) {
    const int64_t pass_end = pass + kPassPanels < end ? pass + kPassPanels : end;
    SlabPanels<kType>(job, pass, pass_end, scratch, sums);
  }
}

template <int kIndex>
constexpr Int8Kernel KernelOf() {
  constexpr DType kType = kAllDTypes[kIndex];
  static_assert(static_cast<int>(kType) == kIndex);
  if constexpr (IsQuantised(kType)) {
    return {.panels = Panels<kType>, .unpack = Unpack<kType>};
  } else {
    return {.panels = nullptr, .unpack = nullptr};
  }
}
template <int... kIndex>
constexpr Int8Kernels KernelsOf(std::integer_sequence<int, kIndex...>) {
  return {KernelOf<kIndex>()...};
}
constexpr Int8Kernels kKernels = KernelsOf(std::make_integer_sequence<int, kDTypes>());

}  // namespace
}  // namespace catena::cpu
