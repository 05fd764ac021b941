// What the gate of an MLP's gated linear unit goes through (Shazeer, 2020): for host and device
// code.
#pragma once

namespace catena {

enum class Gate {
  kSilu,      // SwiGLU
  kGeluTanh,  // GEGLU, with the tanh approximation of GELU (Hendrycks and Gimpel, 2016)
};

}  // namespace catena
