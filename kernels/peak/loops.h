// Loops that take from one core all it can give: multiply-accumulates in registers, and wide loads.
// One file an instruction set. What each computes is defined to the bit, so that a test
// can tell that no compiler has shortened it.
//
// Thread rules: any thread, each with sums of its own.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace catena::cpu::peak {

// Vectors of sums that a loop adds to in turn. An addition takes up to 5 cycles and two start in
// each, so ten would do; with the operands twelve still fit 16 registers.
constexpr int kSums = 12;

// The most lanes that a vector of sums has: 16 of 32 bits.
constexpr int kMostLanes = 16;

// Multiplies vectors a and b lane by lane, kGroup neighbouring values into one lane.
template <class AType, class BType, class SumType, int kGroupSize>
struct MacLoop {
  using A = AType;
  using B = BType;
  using Sum = SumType;
  static constexpr int kGroup = kGroupSize;

  std::string_view instructions;
  int lanes;  // of a vector of sums
  // a, b: (lanes, kGroup); sums: (kSums, lanes). Each of `rounds` rounds adds to every
  // sums[s][l] the dot product of a[l] and b[l].
  void (*run)(int64_t rounds, const A* a, const B* b, Sum* sums);

  int64_t macs_per_round() const { return int64_t{kSums} * lanes * kGroup; }
};
using F32Loop = MacLoop<float, float, float, 1>;
using Int8Loop = MacLoop<uint8_t, int8_t, int32_t, 4>;
using Bf16Loop = MacLoop<uint16_t, uint16_t, float, 2>;  // bfloat16 as its bits

constexpr int64_t kReadStepBytes = 512;

struct ReadLoop {
  std::string_view instructions;
  // The sum of the uint64 words at p modulo 2^64. REQUIRES: p aligned to 64, bytes a multiple of
  // kReadStepBytes.
  uint64_t (*sum)(const uint8_t* p, int64_t bytes);
  // The same; each line is prefetched well before it is read.
  uint64_t (*sum_prefetched)(const uint8_t* p, int64_t bytes);
};

// Those that this machine runs, the widest first. Only bfloat16 may have none.
std::vector<ReadLoop> ReadLoops();
std::vector<F32Loop> F32Loops();
std::vector<Int8Loop> Int8Loops();
std::vector<Bf16Loop> Bf16Loops();

ReadLoop ReadSse2();
ReadLoop ReadAvx2();
ReadLoop ReadAvx512();
F32Loop F32Sse2();
F32Loop F32Avx2();
F32Loop F32Avx512();
Int8Loop Int8Sse2();
Int8Loop Int8Avx2();
Int8Loop Int8Avx512();
Int8Loop Int8AvxVnni();
Int8Loop Int8Avx512Vnni();
Bf16Loop Bf16Avx512();

}  // namespace catena::cpu::peak
