#include "model/weights/mapped_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace catena {
namespace {

// Closes a descriptor at the end of a scope; a mapping outlives its descriptor.
struct ScopedFd {
  int fd;
  ~ScopedFd() {
    if (fd >= 0) close(fd);
  }
};

absl::Status OpenError(const std::string& path, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    return absl::NotFoundError(fmt::format("{}: no such file; check the path", path));
  }
  return absl::InvalidArgumentError(fmt::format("{}: {}", path, std::strerror(error)));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  const ScopedFd file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) return OpenError(path, errno);
  struct stat info;
  if (fstat(file.fd, &info) != 0) return OpenError(path, errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("{}: not a regular file", path));
  }
  if (info.st_size == 0) return absl::DataLossError(fmt::format("{}: the file is empty", path));
  const size_t size = static_cast<size_t>(info.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) return OpenError(path, errno);
  return std::shared_ptr<const MappedFile>(
      new MappedFile(path, {static_cast<const uint8_t*>(data), size}));
}

MappedFile::~MappedFile() { munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size()); }

void MappedFile::Release(absl::Span<const uint8_t> range) const {
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
