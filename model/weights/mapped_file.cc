#include "model/weights/mapped_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/mman.h>
#include <unistd.h>

#include "model/read_file.h"

namespace catena {

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  CATENA_ASSIGN_OR_RETURN(const RegularFile file, RegularFile::Open(path));
  if (file.size() == 0) {
    return absl::DataLossError(fmt::format("{}: the file is empty; fetch it again", path));
  }
  const size_t size = static_cast<size_t>(file.size());
  void* data =
      mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd(), 0);  // outlives the descriptor
  if (data == MAP_FAILED) {
    return absl::InvalidArgumentError(
        fmt::format("{}: cannot be mapped: {}", path, std::strerror(errno)));
  }
  std::shared_ptr<const MappedFile> mapped(
      new MappedFile(path, {static_cast<const uint8_t*>(data), size}));
  constexpr size_t kLongestStandIn = 1024;
  const std::string_view start(static_cast<const char*>(data), std::min(size, kLongestStandIn));
  CATENA_RETURN_IF_ERROR(CheckNoStandIn(start, path));
  return mapped;
}

MappedFile::~MappedFile() { munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size()); }

void MappedFile::Release(absl::Span<const uint8_t> range) const {
  if (range.empty()) return;  // of a tensor without values, which lies nowhere
  CATENA_CHECK(range.data() >= bytes_.data() &&
               range.data() + range.size() <= bytes_.data() + bytes_.size());
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(range.data());
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last = (begin + range.size()) / page * page;
  if (first >= last) return;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);  // advice: may be ignored
}

}  // namespace catena
