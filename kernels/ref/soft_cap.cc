#include "kernels/ref/ops.h"

namespace catena::ref {

float SoftCap(float x, float cap) {
  return (cap - (2.0f * cap) / (Exp(x * (2.0f / cap)) + 1.0f)) + (x - x);
}

}  // namespace catena::ref
