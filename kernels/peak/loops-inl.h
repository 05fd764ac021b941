// The loops of loops.h, written once over one kind of vector. An instruction set's file
// defines a struct a kind of arithmetic, opens its target attributes and an anonymous namespace,
// and includes this.
//
// A kind of MacLoop has: Vec (of sums), kLanes; Load, LoadSums, StoreSums; and MulAdd, in assembly
// or behind an empty asm, so that the compiler computes every product anew and in these
// instructions. One of ReadLoop has: Vec (of uint64), Zero, Load, Add, Store.
#pragma once

#include "kernels/peak/loops.h"

namespace catena::cpu::peak {
namespace {

// Far enough that memory has answered, and past the end of the page where the hardware's
// prefetchers stop.
constexpr int kPrefetchBytes = 4096;

template <class Kind, class Loop>
void RunMacs(int64_t rounds, const typename Loop::A* a, const typename Loop::B* b,
             typename Loop::Sum* sums) {
  const auto x = Kind::Load(a);
  const auto y = Kind::Load(b);
  typename Kind::Vec sum[kSums];
  for (int s = 0; s < kSums; ++s) sum[s] = Kind::LoadSums(sums + s * Kind::kLanes);
  for (; rounds > 0; --rounds) {
    for (int s = 0; s < kSums; ++s) sum[s] = Kind::MulAdd(sum[s], x, y);
  }
  for (int s = 0; s < kSums; ++s) Kind::StoreSums(sum[s], sums + s * Kind::kLanes);
}

template <class Kind, class Loop>
Loop MakeMacLoop(std::string_view instructions) {
  return {instructions, Kind::kLanes, RunMacs<Kind, Loop>};
}

template <class Kind, bool kPrefetch>
uint64_t SumWords(const uint8_t* p, int64_t bytes) {
  constexpr int kChains = 8, kVecBytes = sizeof(typename Kind::Vec), kLine = 64;
  static_assert(kReadStepBytes % (kChains * kVecBytes) == 0);
  typename Kind::Vec sum[kChains];
  for (int s = 0; s < kChains; ++s) sum[s] = Kind::Zero();
  for (const uint8_t* end = p + bytes; p < end; p += kChains * kVecBytes) {
    for (int s = 0; s < kChains; ++s) {
      if (kPrefetch && s * kVecBytes % kLine == 0) {
        __builtin_prefetch(p + s * kVecBytes + kPrefetchBytes, 0, 3);
      }
      sum[s] = Kind::Add(sum[s], Kind::Load(p + s * kVecBytes));
    }
  }
  for (int s = 1; s < kChains; ++s) sum[0] = Kind::Add(sum[0], sum[s]);
  uint64_t words[kVecBytes / 8], total = 0;
  Kind::Store(sum[0], words);
  for (const uint64_t word : words) total += word;
  return total;
}

template <class Kind>
ReadLoop MakeReadLoop(std::string_view instructions) {
  return {instructions, SumWords<Kind, false>, SumWords<Kind, true>};
}

}  // namespace
}  // namespace catena::cpu::peak
