// Files that are read whole: configs, tokenizers, chat templates, lists of tokens or keys. A path
// is as hostile as what it names: a pipe would wait for a writer, a device never ends, a sparse
// file of 20 GB costs nothing to make. So only regular files are opened, without waiting, and none
// is read that is larger than its kind may be (file_limits.h).
//
// Thread rules: functions without state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/base/status.h"

namespace catena {

// A regular file, open for reading.
class RegularFile {
 public:
  // NOT_FOUND where there is no such file; INVALID_ARGUMENT where it is a folder, a pipe, a device
  // …, or may not be read.
  static absl::StatusOr<RegularFile> Open(const std::string& path);
  ~RegularFile();
  RegularFile(RegularFile&& other) noexcept : fd_(other.fd_), size_(other.size_) { other.fd_ = -1; }
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;

  int fd() const { return fd_; }
  uint64_t size() const { return size_; }  // when it was opened

 private:
  RegularFile(int fd, uint64_t size) : fd_(fd), size_(size) {}

  int fd_;
  uint64_t size_;
};

// The whole file. Besides Open's errors: DATA_LOSS where it has more than `max_bytes`, where it is
// a stand-in (CheckNoStandIn) or cannot be read to its end.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes);

// DATA_LOSS, with what to do, where `bytes` are not the file that `path` should be but what some
// tools leave in its place: a Git LFS pointer, or a web page.
absl::Status CheckNoStandIn(std::string_view bytes, std::string_view path);

}  // namespace catena
