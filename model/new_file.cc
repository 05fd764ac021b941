#include "model/new_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

namespace catena {
namespace {

namespace fs = std::filesystem;

absl::Status AlreadyThere(const std::string& path) {
  return absl::AlreadyExistsError(
      fmt::format("{}: there is such a file already; give another name, or --force", path));
}

// So that the new name survives a power cut as well; where a folder cannot be synced, it need not.
void SyncFolder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

fs::path FolderOf(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

}  // namespace

absl::StatusOr<std::unique_ptr<NewFile>> NewFile::Create(const std::string& path, bool replace) {
  std::unique_ptr<NewFile> file(new NewFile(path, replace));
  CATENA_RETURN_IF_ERROR(CheckPlace(path, replace));
  CATENA_RETURN_IF_ERROR(file->OpenTemporary());
  return file;
}

NewFile::~NewFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_path_.empty()) unlink(temporary_path_.c_str());
}

absl::Status NewFile::Failed(std::string_view what, int error) const {
  const auto message = [&](std::string_view why) {
    return fmt::format("{}: cannot be {}: {}", path_, what, why);
  };
  switch (error) {
    case ENOSPC:
      return absl::ResourceExhaustedError(message("the disk is full; free some room on it"));
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(
          message("a quota or limit of file sizes is reached; raise it"));
    case ENOENT:
      return absl::NotFoundError(message("there is no such folder; make it"));
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message("its folder may not be written to"));
    default:
      return absl::InvalidArgumentError(message(std::strerror(error)));
  }
}

absl::Status NewFile::CheckPlace(const std::string& path, bool replace) {
  std::error_code ignored;
  if (!fs::exists(FolderOf(path), ignored)) {
    return absl::NotFoundError(
        fmt::format("{}: cannot be written: there is no such folder; make it", path));
  }
  const fs::file_status status = fs::status(path, ignored);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: not a regular file; give the path of a file to write", path));
  }
  // A link to nothing is there as well.
  const bool is_there = fs::exists(fs::symlink_status(path, ignored));
  return !is_there || replace ? absl::OkStatus() : AlreadyThere(path);
}

absl::Status NewFile::OpenTemporary() {
  constexpr int kTries = 100;  // names that an earlier process of our number may have left
  for (int i = 0; i < kTries; ++i) {
    const std::string name = fmt::format("{}.{}-{}.partial", path_, getpid(), i);
    fd_ = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ >= 0) {
      temporary_path_ = name;
      return absl::OkStatus();
    }
    if (errno != EEXIST) break;
  }
  return Failed("written", errno);
}

absl::Status NewFile::Reserve(uint64_t bytes) {
  if (bytes > uint64_t{INT64_MAX}) return Failed("written", EFBIG);
  // Sizes stay as they are: a file that ends early is seen to.
  if (fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) == 0) {
    return absl::OkStatus();
  }
  const int error = errno;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) return Failed("written", error);
  return absl::OkStatus();  // not every file system can
}

absl::Status NewFile::Write(absl::Span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    constexpr size_t kMost = size_t{1} << 30;  // Linux writes no more than 2 GiB at once
    const ssize_t n = write(fd_, bytes.data(), std::min(bytes.size(), kMost));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("written", errno);
    written_ += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status NewFile::Keep() {
  if (fsync(fd_) != 0) return Failed("written", errno);
  const int fd = std::exchange(fd_, -1);
  if (close(fd) != 0) return Failed("written", errno);
  CATENA_RETURN_IF_ERROR(Rename());
  temporary_path_.clear();
  SyncFolder(FolderOf(path_));
  return absl::OkStatus();
}

absl::Status NewFile::Rename() {
  if (!replace_) {
    const int done =
        renameat2(AT_FDCWD, temporary_path_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE);
    if (done == 0) return absl::OkStatus();
    if (errno == EEXIST) return AlreadyThere(path_);
    if (errno != EINVAL && errno != ENOSYS) return Failed("renamed", errno);
    CATENA_RETURN_IF_ERROR(
        CheckPlace(path_, replace_));  // a file system that knows no such renaming
  }
  if (rename(temporary_path_.c_str(), path_.c_str()) == 0) return absl::OkStatus();
  return Failed("renamed", errno);
}

}  // namespace catena
