#include "kernels/cpu/peak_loops.h"

#include <cpuid.h>

#include "kernels/cpu/cpu_backend.h"

namespace catena::cpu::peak {
namespace {

bool HasAvx2() { return DetectCpuIsa().has_value(); }
bool HasAvx512() { return DetectCpuIsa() >= CpuIsa::kAvx512; }
bool HasAvx512Vnni() { return DetectCpuIsa() >= CpuIsa::kAvx512Vnni; }
bool HasAvx512Bf16() { return HasAvx512() && __builtin_cpu_supports("avx512bf16"); }

// Leaf 7.1, EAX bit 4 of Intel's manual, volume 2, CPUID; clang 14's builtin does not know it.
bool HasAvxVnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return HasAvx2() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
}

}  // namespace

std::vector<ReadLoop> ReadLoops() {
  std::vector<ReadLoop> loops;
  if (HasAvx512()) loops.push_back(ReadAvx512());
  if (HasAvx2()) loops.push_back(ReadAvx2());
  loops.push_back(ReadSse2());
  return loops;
}

std::vector<F32Loop> F32Loops() {
  std::vector<F32Loop> loops;
  if (HasAvx512()) loops.push_back(F32Avx512());
  if (HasAvx2()) loops.push_back(F32Avx2());
  loops.push_back(F32Sse2());
  return loops;
}

std::vector<Int8Loop> Int8Loops() {
  std::vector<Int8Loop> loops;
  if (HasAvx512Vnni()) loops.push_back(Int8Avx512Vnni());
  if (HasAvxVnni()) loops.push_back(Int8AvxVnni());
  if (HasAvx512()) loops.push_back(Int8Avx512());
  if (HasAvx2()) loops.push_back(Int8Avx2());
  loops.push_back(Int8Sse2());
  return loops;
}

std::vector<Bf16Loop> Bf16Loops() {
  std::vector<Bf16Loop> loops;
  if (HasAvx512Bf16()) loops.push_back(Bf16Avx512());
  return loops;
}

}  // namespace catena::cpu::peak
