// How often this process has asked for memory by operator new. Thread rules: any.
#pragma once

#include <cstdint>

namespace catena::testing_kernels {

int64_t Allocations();

}  // namespace catena::testing_kernels
