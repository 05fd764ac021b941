#include "kernels/ref/ops.h"

namespace catena::ref {

void AdjustQkv(const AttentionShape& shape, const float* bias, const float* q_gain,
               const float* k_gain, float eps, float* row) {
  const int heads = shape.heads + 2 * shape.kv_heads;
  for (int i = 0; bias != nullptr && i < heads * shape.head_dim; ++i) row[i] += bias[i];
  for (int h = 0; q_gain != nullptr && h < shape.heads + shape.kv_heads; ++h) {
    float* head = row + h * shape.head_dim;
    RmsNorm(head, h < shape.heads ? q_gain : k_gain, shape.head_dim, eps, head);
  }
}

}  // namespace catena::ref
