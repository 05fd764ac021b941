// What the int8 linear layer reads of a panel, packed or unpacked, behind one interface. Included
// by int8_linear-inl.h, after the instruction set's `struct Isa`.
#pragma once

#include "kernels/cpu/int8_linear.h"
#include "kernels/cpu/layout.h"

namespace catena::cpu {
namespace {

// Of 16 columns in one group of a block. `minimum` is set where the type has minima.
struct Scales {
  typename Isa::FloatVec d, negated, minimum;  // negated: -kMagic * d
};

// Bits [place, place + bits) of the codes of quad kQuad, from a plane of so many bits.
template <int kBits, int kPlace, int kQuad>
inline __attribute__((always_inline)) typename Isa::ByteVec FromPlane(const uint8_t* plane) {
  constexpr int kAt = kQuad * kBits;
  return Isa::template ShiftRight<kAt % 8 - kPlace>(Isa::LoadBytes(plane + kAt / 8 * 128));
}
constexpr uint8_t PlaneMask(int bits, int place) {
  return static_cast<uint8_t>(((1 << bits) - 1) << place);
}

// A panel of type kType as it lies.
template <DType kType>
struct Packed {
  static constexpr QuantFormat kFormat = Quantisation(kType);
  static constexpr QuantPanel kPanel = PanelOf(kType);
  static constexpr int kGroups = kFormat.groups;
  static constexpr bool kMinimum = kFormat.minimum;
  // Of a code as it is multiplied.
  static constexpr int kBits = kFormat.codebook != nullptr ? 8 : kFormat.bits;
  static constexpr int kBlocks = kPanel.blocks, kBlockBytes = kPanel.block_bytes;
  static constexpr int kHeadBytes = kPanel.head_bytes;

  // What codes that are multiplied are more than quants.
  static constexpr int Offset(int) { return UnpackedOffset(kType); }

  // The codes of quad kQuad of 16 columns.
  template <int kQuad>
  static inline __attribute__((always_inline)) typename Isa::ByteVec Codes(const uint8_t* block) {
    constexpr int kBits = kFormat.bits;
    if constexpr (kBits == 8) {
      return Isa::LoadBytes(block + kQuad * 128);
    } else if constexpr (kFormat.codebook != nullptr) {
      const auto places = Isa::And(FromPlane<4, 0, kQuad>(block), PlaneMask(4, 0));
      return Isa::Lookup(kFormat.codebook, places);
    } else if constexpr (kBits == 4) {
      return Isa::And(FromPlane<4, 0, kQuad>(block), PlaneMask(4, 0));
    } else if constexpr (kBits == 2) {
      return Isa::And(FromPlane<2, 0, kQuad>(block), PlaneMask(2, 0));
    } else {  // two planes
      constexpr int kLow = kBits < 4 ? 2 : 4, kHigh = kBits - kLow;
      const auto low = Isa::And(FromPlane<kLow, 0, kQuad>(block), PlaneMask(kLow, 0));
      const auto high = FromPlane<kHigh, kLow, kQuad>(block + kLow * 128);
      return Isa::OrAnd(low, high, PlaneMask(kHigh, kLow));
    }
  }

  static inline __attribute__((always_inline)) Scales Load(const uint8_t* head, int block,
                                                           int group, int column) {
    Scales s;
    s.d = kFormat.bf16_scale ? Isa::LoadBf16(head + column * 2) : Isa::LoadHalf(head + column * 2);
    if constexpr (kMinimum) s.minimum = Isa::LoadHalf(head + 64 + column * 2);
    if constexpr (kPanel.group_bytes > 0) {
      const uint8_t* multiples =
          head + kPanel.multiples + (block * kGroups + group) * kPanel.group_bytes + column;
      if constexpr (kType == DType::kQ2_K) {
        s.d = Isa::Mul(s.d, Isa::LoadLowNibbles(multiples));
        s.minimum = Isa::Mul(s.minimum, Isa::LoadHighNibbles(multiples));
      } else {
        s.d = Isa::Mul(s.d, Isa::LoadInt8(multiples));
        if constexpr (kMinimum) {
          s.minimum = Isa::Mul(s.minimum, Isa::LoadInt8(multiples + kPanelCols));
        }
      }
    }
    s.negated = Isa::Mul(s.d, Isa::Set(-kMagic));
    return s;
  }
};

// Unpacked blocks (layout.h) of any type that has so many groups and minima or none, and codes
// of so many bits at most.
template <int kBitsOfCode, int kGroupsOfBlock, bool kHasMinimum>
struct Unpacked {
  static constexpr int kGroups = kGroupsOfBlock;
  static constexpr bool kMinimum = kHasMinimum;
  static constexpr int kBits = kBitsOfCode;
  static constexpr int kBlocks = 1, kBlockBytes = UnpackedBytes(kGroups), kHeadBytes = 0;

  static int Offset(int of_type) { return of_type; }

  template <int kQuad>
  static inline __attribute__((always_inline)) typename Isa::ByteVec Codes(const uint8_t* block) {
    return Isa::LoadBytes(block + kQuad * 128);
  }
  static inline __attribute__((always_inline)) Scales Load(const uint8_t* block, int, int group,
                                                           int column) {
    const float* scales =
        reinterpret_cast<const float*>(block + kUnpackedScales + group * kUnpackedGroupBytes) +
        column;
    Scales s{.d = Isa::Load(scales), .negated = Isa::Load(scales + 32), .minimum = {}};
    if constexpr (kMinimum) s.minimum = Isa::Load(scales + 64);
    return s;
  }
};
// (Less than eight bits matter where they are summed in 16.)
constexpr int UnpackedBits(int bits) {
  if (bits == 8) return 8;
  return Isa::kSumsPairs && bits <= 4 ? 4 : 6;
}
template <DType kType>
using UnpackedAs =
    Unpacked<UnpackedBits(Packed<kType>::kBits), Packed<kType>::kGroups, Packed<kType>::kMinimum>;

template <DType kType, int kQuad = 0>
inline __attribute__((always_inline)) void UnpackCodes(const uint8_t* block, uint8_t* out) {
  if constexpr (kQuad < 8) {
    Isa::StoreBytes(Packed<kType>::template Codes<kQuad>(block), out + kQuad * 128);
    UnpackCodes<kType, kQuad + 1>(block, out);
  }
}

// See int8_linear.h.
template <DType kType>
void Unpack(const uint8_t* panel, int block, int n, uint8_t* out) {
  using P = Packed<kType>;
  for (const int end = block + n; block < end; ++block, out += UnpackedBytes(P::kGroups)) {
    const int within = block % P::kBlocks;
    const uint8_t* head = panel + block / P::kBlocks * P::kPanel.bytes();
    const uint8_t* codes = head + P::kHeadBytes + within * P::kBlockBytes;
    for (int half = 0; half < 2; ++half) {
      UnpackCodes<kType>(codes + half * 64, out + half * 64);
      for (int group = 0; group < P::kGroups; ++group) {
        const Scales s = P::Load(head, within, group, half * 16);
        uint8_t* to = out + kUnpackedScales + group * kUnpackedGroupBytes;
        float* scales = reinterpret_cast<float*>(to) + half * 16;
        Isa::Store(s.d, scales);
        Isa::Store(s.negated, scales + 32);
        if constexpr (P::kMinimum) Isa::Store(s.minimum, scales + 64);
      }
    }
  }
}

}  // namespace
}  // namespace catena::cpu
