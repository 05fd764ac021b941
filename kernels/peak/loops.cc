#include "kernels/peak/loops.h"

#include "kernels/cpu/cpu_backend.h"

namespace catena::cpu::peak {
namespace {

bool HasAvx2() { return Has(CpuIsa::kAvx2); }
bool HasAvx512() { return Has(CpuIsa::kAvx512); }
bool HasAvx512Vnni() { return Has(CpuIsa::kAvx512Vnni); }
bool HasAvx512Bf16() { return Has(CpuIsa::kAvx512Bf16); }

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
  if (HasVexVnni()) loops.push_back(Int8AvxVnni());
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
