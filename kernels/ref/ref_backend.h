// The reference as a backend: one thread, no vector instructions, runs on any machine.
#pragma once

#include <memory>

#include "kernels/kernels.h"

namespace catena {

std::unique_ptr<Backend> NewRefBackend(Activations activations);

}  // namespace catena
