// The operators are in a file of their own, where no compiler inlines one and not the other.
#include "tests/kernels/count_allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

void* operator new(size_t bytes) {
  ++allocations;
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace catena::testing_kernels {

int64_t Allocations() { return allocations; }

}  // namespace catena::testing_kernels
