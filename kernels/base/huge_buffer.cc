#include "kernels/base/huge_buffer.h"

#include <sys/mman.h>

namespace catena {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;
constexpr size_t kMostBytes = size_t{1} << 46;  // more address space than a process has

absl::Status TooMuch(size_t bytes) {
  return absl::ResourceExhaustedError(
      fmt::format("{} MiB of memory cannot be had; use a smaller model, batch or context, or fewer "
                  "sequences",
                  bytes >> 20));
}

}  // namespace

absl::StatusOr<HugeBuffer> HugeBuffer::Allocate(size_t each, size_t count) {
  HugeBuffer buffer;
  if (each == 0 || count == 0) return buffer;
  if (each > kMostBytes / count) return TooMuch(kMostBytes);
  const size_t bytes = each * count;
  const bool huge = bytes >= kHugePage;
  const size_t slack = huge ? kHugePage : 0;
  buffer.mapping_bytes_ = (bytes + slack + kPage - 1) & ~(kPage - 1);
  buffer.mapping_ = mmap(nullptr, buffer.mapping_bytes_, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (buffer.mapping_ == MAP_FAILED) {
    buffer.mapping_ = nullptr;
    return TooMuch(bytes);
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
