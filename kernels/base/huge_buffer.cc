#include "kernels/base/huge_buffer.h"

#include <algorithm>

#include <sys/mman.h>

namespace catena {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;
constexpr size_t kChunkBytes = size_t{16} << 20;  // of an arena
constexpr size_t kAlignment = 4096;               // of a buffer in it: nobody shares a line or page
constexpr size_t kMostBytes = size_t{1} << 46;    // more address space than a process has

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
  const size_t mapping_bytes = (bytes + slack + kPage - 1) & ~(kPage - 1);
  void* mapping = mmap(nullptr, mapping_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return TooMuch(bytes);
  buffer.mapping_ = std::shared_ptr<void>(
      mapping, [mapping_bytes](void* memory) { munmap(memory, mapping_bytes); });
  auto address = reinterpret_cast<uintptr_t>(mapping);
  if (huge) address = (address + kHugePage - 1) & ~(kHugePage - 1);
  buffer.data_ = reinterpret_cast<uint8_t*>(address);
  buffer.bytes_ = bytes;
  if (huge) madvise(buffer.data_, bytes, MADV_HUGEPAGE);
  return buffer;
}

HugeBuffer& HugeBuffer::operator=(HugeBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapping_, other.mapping_);
  return *this;
}

absl::StatusOr<HugeBuffer> HugeArena::Allocate(size_t bytes) {
  if (bytes == 0 || bytes >= kHugePage) return HugeBuffer::Allocate(bytes);
  if (bytes > chunk_.bytes() - used_) {
    CATENA_ASSIGN_OR_RETURN(chunk_, HugeBuffer::Allocate(kChunkBytes));
    used_ = 0;
  }
  HugeBuffer buffer;
  buffer.data_ = chunk_.data_ + used_;
  buffer.bytes_ = bytes;
  buffer.mapping_ = chunk_.mapping_;
  used_ += (bytes + kAlignment - 1) & ~(kAlignment - 1);
  used_ = std::min(used_, chunk_.bytes());
  return buffer;
}

}  // namespace catena
