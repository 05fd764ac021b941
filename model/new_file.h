// A file that is there whole or not at all: written under another name beside its place and renamed
// once it is complete and on disk. What ends before that, by an error or an exception, leaves
// nothing behind.
//
// Errors name the file and say what to do: NOT_FOUND where its folder is not there, ALREADY_EXISTS
// where it is there and is not to be replaced, RESOURCE_EXHAUSTED where the disk is full or a quota
// or limit is reached, PERMISSION_DENIED, INVALID_ARGUMENT.
//
// Thread rules: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/types/span.h"

#include "kernels/base/status.h"

namespace catena {

class NewFile {
 public:
  // Whether Create is likely to succeed, without a trace: for whoever has work to do before.
  static absl::Status CheckPlace(const std::string& path, bool replace);
  // `replace`: a regular file that is there makes way.
  static absl::StatusOr<std::unique_ptr<NewFile>> Create(const std::string& path, bool replace);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Takes the room for `bytes` at once, where the file system can: a full disk is better known
  // before an hour of work than after it.
  absl::Status Reserve(uint64_t bytes);
  absl::Status Write(absl::Span<const uint8_t> bytes);
  uint64_t written() const { return written_; }

  // Where it is until Keep, for a look at what was written.
  const std::string& temporary_path() const { return temporary_path_; }

  // Makes it durable and gives it its name. Nothing may be written after that.
  absl::Status Keep();

 private:
  NewFile(std::string path, bool replace) : path_(std::move(path)), replace_(replace) {}
  absl::Status Failed(std::string_view what, int error) const;
  absl::Status OpenTemporary();
  absl::Status Rename();

  std::string path_;
  bool replace_;
  std::string temporary_path_;  // "" before it is made and once it has its name
  int fd_ = -1;
  uint64_t written_ = 0;
};

}  // namespace catena
