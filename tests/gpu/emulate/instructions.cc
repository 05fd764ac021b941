#include "tests/gpu/emulate/instructions.h"

#include <cmath>
#include <cstring>
#include <string>

#include "kernels/base/float16.h"
#include "tests/gpu/emulate/sanitizers.h"

namespace catena::emulate {
namespace {

struct Fragments {
  uint32_t a[4], b[2];
  float d[4];
};

float Widen(uint32_t pair, int i) { return BF16ToF32(static_cast<uint16_t>(pair >> 16 * i)); }

// Lane 4g + t holds of A, 16 x 16, rows g and g + 8, columns 2t, 2t + 1 and those + 8; of B, 16 x
// 8, the same rows of column g; of D rows g and g + 8, columns 2t and 2t + 1.
void Multiply(const Meeting& meeting) {
  float a[16][16], b[8][16];
  auto* d = reinterpret_cast<float(*)[8]>(meeting.result);
  for (int lane = 0; lane < 32; ++lane) {
    Fragments f;
    std::memcpy(&f, meeting.lane[lane], sizeof f);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 2; ++i) {
      for (int half = 0; half < 2; ++half) {
        const int k = 2 * t + i + 8 * half;
        a[g][k] = Widen(f.a[2 * half], i);
        a[g + 8][k] = Widen(f.a[2 * half + 1], i);
        b[g][k] = Widen(f.b[half], i);
        d[g + 8 * half][2 * t + i] = f.d[2 * half + i];
      }
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 0.0f;
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[column][k];
      d[row][column] += sum;
    }
  }
}

}  // namespace

void Need(int capability, const Where& where) {
  if (GlobalOptions().capability >= capability) return;
  Fail("an instruction of compute capability " + std::to_string(capability), where);
}

void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Where& where) {
  const Unseen unseen;
  Fragments own;
  std::memcpy(own.a, a, sizeof a);
  std::memcpy(own.b, b, sizeof b);
  std::memcpy(own.d, d, sizeof d);
  const Meeting meeting = Meet("mma", &own, sizeof own, false, where);
  if (meeting.last) Multiply(meeting);
  const auto* result = reinterpret_cast<const float(*)[8]>(meeting.result);
  const unsigned g = Self().lane / 4, t = Self().lane % 4;
  for (unsigned i = 0; i < 4; ++i) d[i] = result[g + i / 2 * 8][2 * t + i % 2];
}

void LdMatrix4(uint32_t (&out)[4], uint32_t row, const Where& where) {
  constexpr size_t kRowBytes = 16;
  std::byte bytes[kRowBytes];
  std::memcpy(bytes, FromShared(row, kRowBytes, where), sizeof bytes);
  const Unseen unseen;
  const Meeting meeting = Meet("ldmatrix", bytes, sizeof bytes, false, where);
  const unsigned lane = Self().lane;
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    std::memcpy(&out[matrix], meeting.lane[8 * matrix + lane / 4] + lane % 4 * 4, 4);
  }
}

float HalfToFloat(uint16_t h) { return F16ToF32(h); }

uint16_t FloatToHalf(float f) {
  constexpr float kRoundsToInfinity = 65520.0f;
  if (std::fabs(f) >= kRoundsToInfinity) return std::signbit(f) ? 0xfc00 : 0x7c00;
  return F32ToF16Saturating(f);
}

}  // namespace catena::emulate
