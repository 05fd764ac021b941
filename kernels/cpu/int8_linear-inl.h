// The int8 linear layer, written once over a small set of vector operations. An instruction set's
// file defines `struct Isa`, opens its target attributes and an anonymous namespace, and includes
// this. Layouts: layout.h. Arithmetic: Linear of kernels.h.
//
// Isa has: IntVec (16 int32), FloatVec (16 floats), ByteVec (64 bytes: 16 columns x 4 k);
// kRows and kHalves, the register tile: rows, and vectors of 16 columns.
#pragma once

#include "kernels/cpu/int8_linear.h"
#include "kernels/cpu/layout.h"

namespace catena::cpu {
namespace {

constexpr int kSlabBlocks = 32;       // of 32 k, at most: an unpacked slab of a panel is 45 KB
constexpr int kPassPanels = 8;        // panels that share a slab of activations while it is in L2
constexpr int kDirectRows = 64;       // up to here weights are unpacked anew for each tile of rows
constexpr int kPrefetchBytes = 8192;  // ahead, into L2
// While a block's arithmetic is this short, the processor's own prefetchers are ahead of it, and
// what asks for more only takes turns from loads.
constexpr int UnprefetchedRows(DType type) { return type == DType::kQ4_1 ? 2 : 4; }

// An unpacked block: quants as uint8 [8][2][64], d f32 [32], -kMagic * d [32], m [32].
constexpr int kSlabScale = 1024, kSlabNegated = 1152, kSlabMinimum = 1280, kSlabBlockBytes = 1408;
static_assert(kSlabBlocks * kSlabBlockBytes <= kInt8SlabBytes);

// Slabs of about the same number of blocks: a short one costs as much around it as a long one.
int SlabBlocks(int blocks) {
  const int slabs = (blocks + kSlabBlocks - 1) / kSlabBlocks;
  return (blocks + slabs - 1) / slabs;
}

template <DType kType>
void UnpackSlab(const uint8_t* w, int blocks, uint8_t* slab) {
  constexpr int kHead = kType == DType::kQ4_1 ? 128 : 64;
  for (int b = 0; b < blocks; ++b, w += Int8BlockBytes(kType), slab += kSlabBlockBytes) {
    for (int half = 0; half < 2; ++half) {
      const uint8_t* quants = w + kHead + half * 64;
      if constexpr (kType == DType::kQ8_0) {
        for (int j = 0; j < 8; ++j) {
          Isa::StoreBytes(Isa::LoadBytes(quants + j * 128), slab + j * 128 + half * 64);
        }
      } else {
        for (int j = 0; j < 4; ++j) {
          const typename Isa::ByteVec v = Isa::LoadBytes(quants + j * 128);
          Isa::StoreBytes(Isa::LowNibbles(v), slab + j * 256 + half * 64);
          Isa::StoreBytes(Isa::HighNibbles(v), slab + j * 256 + 128 + half * 64);
        }
      }
      float* scales = reinterpret_cast<float*>(slab + kSlabScale) + half * 16;
      const auto d = Isa::LoadHalf(w + half * 32);
      Isa::Store(d, scales);
      Isa::Store(Isa::Mul(d, Isa::Set(-kMagic)), scales + 32);
      if constexpr (kType == DType::kQ4_1)
        Isa::Store(Isa::LoadHalf(w + 64 + half * 32), scales + 64);
    }
  }
}

// Where a register tile reads: kHalves column halves of a panel's blocks, packed or unpacked.
struct Source {
  const uint8_t* weights;      // first block
  const uint8_t* activations;  // first block of the tile
  int tile_rows;               // rows of the tile
  int row;                     // the first that is computed
  int half;                    // the first column half
  int blocks;
};

// Where its sums go: to `sums` from slab to slab, and out with the last.
struct Target {
  float* sums;                       // (rows, 32)
  float* out;                        // columns of the layer's output, or sums
  int64_t stride;                    // of a row of `out`
  bool add;                          // to what `out` holds
  bool first = false, last = false;  // slab of K
};

// Adds one block of the tile's rows to acc, from packed (kSlab false) or unpacked weights.
template <DType kType, bool kSlab, int kR>
inline __attribute__((always_inline)) void DotBlock(const uint8_t* quants, const uint8_t* x,
                                                    typename Isa::IntVec (&acc)[kR][Isa::kHalves]) {
  constexpr bool kBytes = kSlab || kType == DType::kQ8_0;
#pragma GCC unroll 8
  for (int j = 0; j < (kBytes ? 8 : 4); ++j) {
    typename Isa::ByteVec w[Isa::kHalves];
    for (int c = 0; c < Isa::kHalves; ++c) w[c] = Isa::LoadBytes(quants + j * 128 + c * 64);
    if constexpr (kBytes) {
#pragma GCC unroll 8
      for (int r = 0; r < kR; ++r) {
        const auto xs = Isa::Broadcast4(x + r * 32 + j * 4);
        for (int c = 0; c < Isa::kHalves; ++c) {
          acc[r][c] = kType == DType::kQ8_0 ? Isa::DotQ8(acc[r][c], w[c], xs)
                                            : Isa::DotQ4(acc[r][c], w[c], xs);
        }
      }
    } else {
#pragma GCC unroll 8
      for (int r = 0; r < kR; ++r) {
        const auto even = Isa::Broadcast4(x + r * 32 + j * 8);
        const auto odd = Isa::Broadcast4(x + r * 32 + j * 8 + 4);
        for (int c = 0; c < Isa::kHalves; ++c) {
          acc[r][c] = Isa::DotQ4(acc[r][c], Isa::LowNibbles(w[c]), even);
          acc[r][c] = Isa::DotQ4(acc[r][c], Isa::HighNibbles(w[c]), odd);
        }
      }
    }
  }
}

// The blocks of `s` for kR rows of kHalves column halves.
template <DType kType, bool kSlab, int kR, bool kPrefetch>
void RegisterTile(const Source& s, const Target& t) {
  constexpr int kBlockBytes = kSlab ? kSlabBlockBytes : Int8BlockBytes(kType);
  constexpr int kQuants = kSlab ? 0 : kType == DType::kQ4_1 ? 128 : 64;
  typename Isa::FloatVec f[kR][Isa::kHalves];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < Isa::kHalves; ++c) {
      f[r][c] = t.first ? Isa::Set(0.0f) : Isa::Load(t.sums + r * 32 + c * 16);
    }
  }
  const uint8_t* w = s.weights;
  const uint8_t* a = s.activations;
  for (int b = 0; b < s.blocks; ++b, w += kBlockBytes, a += s.tile_rows * kTileRowBlockBytes) {
    if constexpr (kPrefetch) {
      for (int i = 0; i < kBlockBytes; i += 64) __builtin_prefetch(w + i + kPrefetchBytes, 0, 2);
    }
    const uint8_t* tail = a + s.tile_rows * 32 + s.row * 4;
    const auto* start = reinterpret_cast<const int32_t*>(tail);
    const auto* scale = reinterpret_cast<const float*>(tail + s.tile_rows * 4);
    const auto* sum = reinterpret_cast<const float*>(tail + s.tile_rows * 8);
    typename Isa::IntVec acc[kR][Isa::kHalves];
    for (int r = 0; r < kR; ++r) {
      for (int c = 0; c < Isa::kHalves; ++c) acc[r][c] = Isa::SetInt(start[r]);
    }
    DotBlock<kType, kSlab, kR>(w + kQuants + s.half * 64, a + s.row * 32, acc);
    for (int c = 0; c < Isa::kHalves; ++c) {
      const int column = (s.half + c) * 16;
      typename Isa::FloatVec d, negated, minimum;
      if constexpr (kSlab) {
        const float* scales = reinterpret_cast<const float*>(w + kSlabScale) + column;
        d = Isa::Load(scales);
        negated = Isa::Load(scales + 32);
        if constexpr (kType == DType::kQ4_1) minimum = Isa::Load(scales + 64);
      } else {
        d = Isa::LoadHalf(w + column * 2);
        negated = Isa::Mul(d, Isa::Set(-kMagic));
        if constexpr (kType == DType::kQ4_1) minimum = Isa::LoadHalf(w + 64 + column * 2);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kR; ++r) {
        const auto y = Isa::Fma(Isa::AsFloat(acc[r][c]), d, negated);
        f[r][c] = Isa::Fma(y, Isa::Set(scale[r]), f[r][c]);
        if constexpr (kType == DType::kQ4_1) f[r][c] = Isa::Fma(minimum, Isa::Set(sum[r]), f[r][c]);
      }
    }
  }
  float* out = t.last ? t.out : t.sums;
  const int64_t stride = t.last ? t.stride : 32;
  const bool add = t.last && t.add;
  for (int r = 0; r < kR; ++r, out += stride) {
    for (int c = 0; c < Isa::kHalves; ++c) {
      if (add) f[r][c] = Isa::Add(Isa::Load(out + c * 16), f[r][c]);
      Isa::Store(f[r][c], out + c * 16);
    }
  }
}

template <DType kType, bool kSlab, bool kPrefetch>
void RegisterTileOf(int rows, const Source& s, const Target& t) {
  static_assert(Isa::kRows == 6 || Isa::kRows == 3);
  switch (rows) {
    case 1:
      return RegisterTile<kType, kSlab, 1, kPrefetch>(s, t);
    case 2:
      return RegisterTile<kType, kSlab, 2, kPrefetch>(s, t);
    case 3:
      return RegisterTile<kType, kSlab, 3, kPrefetch>(s, t);
  }
  if constexpr (Isa::kRows == 6) {
    switch (rows) {
      case 4:
        return RegisterTile<kType, kSlab, 4, kPrefetch>(s, t);
      case 5:
        return RegisterTile<kType, kSlab, 5, kPrefetch>(s, t);
      case 6:
        return RegisterTile<kType, kSlab, 6, kPrefetch>(s, t);
    }
  }
}

// A whole activation tile times a panel's blocks. `t`: of its first row and column.
template <DType kType, bool kSlab>
void Tile(Source s, bool prefetch, const Target& t) {
  for (s.half = 0; s.half < 2; s.half += Isa::kHalves) {
    for (s.row = 0; s.row < s.tile_rows; s.row += Isa::kRows) {
      const int rows = s.tile_rows - s.row < Isa::kRows ? s.tile_rows - s.row : Isa::kRows;
      Target part = t;
      part.sums += s.row * 32 + s.half * 16;
      part.out += s.row * t.stride + s.half * 16;
      if (prefetch && s.row == 0 && s.half == 0) {
        RegisterTileOf<kType, kSlab, true>(rows, s, part);
      } else {
        RegisterTileOf<kType, kSlab, false>(rows, s, part);
      }
    }
  }
}

// Blocks [block, block + n) of one panel for every tile of rows. `t`: of the first row.
template <DType kType, bool kSlab>
void TileColumn(const Int8Linear& job, const uint8_t* w, int block, int n, Target t) {
  const bool prefetch = !kSlab && job.rows > UnprefetchedRows(kType);
  t.first = block == 0;
  t.last = (block + n) * int64_t{kQuantBlock} == job.cols;
  for (int row = 0; row < job.rows; row += kTileRows) {
    const int rows = job.rows - row < kTileRows ? job.rows - row : kTileRows;
    const uint8_t* tile = job.activations + TileBytes({.rows = InputFormat::kInt8}, row, job.cols);
    const Source s{.weights = w,
                   .activations = tile + int64_t{block} * rows * kTileRowBlockBytes,
                   .tile_rows = rows,
                   .row = 0,
                   .half = 0,
                   .blocks = n};
    Tile<kType, kSlab>(s, prefetch && row == 0, t);
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
  const int blocks = static_cast<int>(job.cols / kQuantBlock);
  const int step = job.rows <= kTileRows ? blocks : SlabBlocks(blocks);
  const bool whole = (panel + 1) * kPanelCols <= job.out.cols;
  Target target = {.sums = sums, .out = sums, .stride = 32, .add = false};
  if (whole) {
    target.out = job.out.row(0) + panel * kPanelCols;
    target.stride = job.out.stride;
    target.add = job.add;
  }
  for (int b = 0; b < blocks; b += step) {
    const int n = blocks - b < step ? blocks - b : step;
    TileColumn<kType, false>(job, w + b * Int8BlockBytes(kType), b, n, target);
  }
  if (!whole) StorePanel(job, panel, sums);
}

// Many rows: slabs of kPassPanels panels are unpacked once each, and read the same activations
// while those are in L2. Sums wait in `sums`: rows of `out` are pages apart.
template <DType kType>
void SlabPanels(const Int8Linear& job, int64_t begin, int64_t end, uint8_t* slab, float* sums) {
  const int blocks = static_cast<int>(job.cols / kQuantBlock), step = SlabBlocks(blocks);
  const int64_t panel_bytes = PanelBytes(kType, job.cols), panel_floats = int64_t{job.rows} * 32;
  for (int b = 0; b < blocks; b += step) {
    const int n = blocks - b < step ? blocks - b : step;
    for (int64_t p = begin; p < end; ++p) {
      float* panel_sums = sums + (p - begin) * panel_floats;
      UnpackSlab<kType>(job.weights + p * panel_bytes + b * Int8BlockBytes(kType), n, slab);
      TileColumn<kType, true>(job, slab, b, n,
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

constexpr Int8Kernels kKernels = {.q8_0 = Panels<DType::kQ8_0>,
                                  .q4_0 = Panels<DType::kQ4_0>,
                                  .q4_1 = Panels<DType::kQ4_1>,
                                  .q8_offset = Isa::kQ8Offset};

}  // namespace
}  // namespace catena::cpu
