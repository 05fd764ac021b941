#include "kernels/base/huge_buffer.h"

#include <sys/mman.h>

namespace catena {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;

}  // namespace

absl::StatusOr<HugeBuffer> HugeBuffer::Allocate(size_t bytes) {
  HugeBuffer buffer;
  if (bytes == 0) return buffer;
  const bool huge = bytes >= kHugePage;
  const size_t slack = huge ? kHugePage : 0;
  buffer.mapping_bytes_ = (bytes + slack + kPage - 1) & ~(kPage - 1);
  buffer.mapping_ = mmap(nullptr, buffer.mapping_bytes_, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (buffer.mapping_ == MAP_FAILED) {
    buffer.mapping_ = nullptr;
    return absl::ResourceExhaustedError(
        fmt::format("{} MiB of memory cannot be had; use a smaller model, context or --kv-memory",
                    bytes >> 20));
  }
  auto address = reinterpret_cast<uintptr_t>(buffer.mapping_);
  if (huge) address = (address + kHugePage - 1) & ~(kHugePage - 1);
  buffer.data_ = reinterpret_cast<uint8_t*>(address);
  buffer.bytes_ = bytes;
  if (huge) madvise(buffer.data_, bytes, MADV_HUGEPAGE);
  return buffer;
}

HugeBuffer::~HugeBuffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}

HugeBuffer& HugeBuffer::operator=(HugeBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_bytes_, other.mapping_bytes_);
  return *this;
}

}  // namespace catena
