// Q6_K against its definition (ggml's block_q6_K), value by value.
#include "kernels/base/dequantise.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/base/float16.h"

namespace catena {
namespace {

struct Block {
  uint8_t low[128] = {}, high[64] = {};
  int8_t scales[16] = {};
  uint16_t d = 0;
};
static_assert(sizeof(Block) == 210);

// The six bits of value i, by a walk over the bits of its block.
void SetQuant(Block* b, int i, int q) {
  const int half = i / 128, j = i % 128 / 32, l = i % 32;
  const int low = 64 * half + 32 * (j & 1) + l, shift = j < 2 ? 0 : 4;
  b->low[low] = static_cast<uint8_t>((b->low[low] & ~(15 << shift)) | (q & 15) << shift);
  const int high = 32 * half + l;
  b->high[high] = static_cast<uint8_t>((b->high[high] & ~(3 << 2 * j)) | (q >> 4) << 2 * j);
}

std::vector<float> Widen(const std::vector<Block>& blocks) {
  std::vector<uint8_t> bytes(blocks.size() * sizeof(Block) + 1);
  std::memcpy(bytes.data() + 1, blocks.data(), bytes.size() - 1);  // unaligned
  std::vector<float> out(blocks.size() * 256);
  WidenRow(DType::kQ6_K, bytes.data() + 1, static_cast<int64_t>(out.size()), out.data());
  return out;
}

TEST(Q6K, EachValueHasItsOwnBitsAndScale) {
  std::vector<Block> blocks(2);
  for (int b = 0; b < 2; ++b) {
    blocks[b].d = F32ToF16Saturating(b == 0 ? 0.5f : -3.0f);
    for (int s = 0; s < 16; ++s) blocks[b].scales[s] = static_cast<int8_t>(s * 17 - 128);
    for (int i = 0; i < 256; ++i) SetQuant(&blocks[b], i, (i * 37 + b) % 64);
  }
  const std::vector<float> out = Widen(blocks);
  for (int i = 0; i < 512; ++i) {
    const int b = i / 256, at = i % 256;
    const float want = (b == 0 ? 0.5f : -3.0f) * static_cast<float>(at / 16 * 17 - 128) *
                       static_cast<float>((at * 37 + b) % 64 - 32);
    EXPECT_EQ(out[i], want) << i;
  }
}

TEST(Q6K, TheLargestProductsAreExact) {
  std::vector<Block> blocks(1);
  blocks[0].d = 0x7BFF;  // 65504, the largest half
  for (int8_t& s : blocks[0].scales) s = -127;
  for (int i = 0; i < 256; ++i) SetQuant(&blocks[0], i, i % 2 == 0 ? 0 : 63);
  const std::vector<float> out = Widen(blocks);
  EXPECT_EQ(out[0], 65504.0f * 127 * 32);
  EXPECT_EQ(out[1], -65504.0f * 127 * 31);
}

}  // namespace
}  // namespace catena
