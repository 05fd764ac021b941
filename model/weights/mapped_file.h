// A file mapped read-only into memory: pages are read when they are touched and can be given back.
//
// Out of scope: a file that is truncated or written to after it was mapped. Touching a page past
// its new end raises SIGBUS, and bytes that were checked may change. Replace model files by
// renaming a new one into place, as download tools do; a mapping then keeps the old file.
//
// Thread rules: const methods may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/types/span.h"

#include "kernels/base/status.h"

namespace catena {

class MappedFile {
 public:
  // NOT_FOUND where there is no such file, INVALID_ARGUMENT where it is not a regular file or may
  // not be read, DATA_LOSS where it is empty or a stand-in (read_file.h).
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  absl::Span<const uint8_t> bytes() const { return bytes_; }

  // Lets the system drop the pages that lie wholly inside `range`; they are read again when they
  // are next touched. REQUIRES: `range` lies inside bytes().
  void Release(absl::Span<const uint8_t> range) const;

 private:
  MappedFile(std::string path, absl::Span<const uint8_t> bytes)
      : path_(std::move(path)), bytes_(bytes) {}

  std::string path_;
  absl::Span<const uint8_t> bytes_;
};

}  // namespace catena
