#include "model/read_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace catena {
namespace {

absl::Status SystemError(const std::string& path, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    return absl::NotFoundError(fmt::format("{}: no such file; check the path", path));
  }
  return absl::InvalidArgumentError(fmt::format("{}: {}", path, std::strerror(error)));
}

std::string_view KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "a socket";
}

}  // namespace

absl::StatusOr<RegularFile> RegularFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer. O_NOCTTY: nor take a terminal.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  // A socket cannot be opened at all.
  if (fd < 0 && errno != ENXIO) return SystemError(path, errno);
  struct stat info = {};
  info.st_mode = S_IFSOCK;
  if (fd >= 0 && fstat(fd, &info) != 0) {
    const int error = errno;
    close(fd);
    return SystemError(path, error);
  }
  if (!S_ISREG(info.st_mode)) {
    if (fd >= 0) close(fd);
    return absl::InvalidArgumentError(fmt::format(
        "{}: {}, not a regular file; give the path of a file", path, KindOf(info.st_mode)));
  }
  return RegularFile(fd, static_cast<uint64_t>(info.st_size));
}

RegularFile::~RegularFile() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  CATENA_ASSIGN_OR_RETURN(const RegularFile file, RegularFile::Open(path));
  const auto too_large = [&](std::string_view has, uint64_t bytes) {
    return absl::DataLossError(fmt::format(
        "{}: it has {}{} bytes, and a file of its kind at most {}; is it the right file?", path,
        has, bytes, max_bytes));
  };
  if (file.size() > max_bytes) return too_large("", file.size());
  // The size is a hint: files of /proc say 0, and a file may grow while it is read.
  std::string text;
  text.resize(static_cast<size_t>(file.size()) + 1);
  size_t done = 0;
  while (true) {
    if (done == text.size()) text.resize(std::min<uint64_t>(2 * text.size(), max_bytes) + 1);
    const ssize_t n = read(file.fd(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return absl::DataLossError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
    }
    if (n == 0) break;
    done += static_cast<size_t>(n);
    if (done > max_bytes) return too_large("over ", max_bytes);
  }
  text.resize(done);
  CATENA_RETURN_IF_ERROR(CheckNoStandIn(text, path));
  return text;
}

absl::Status CheckNoStandIn(std::string_view bytes, std::string_view path) {
  // https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md; "hawser" was its first name.
  for (const std::string_view start :
       {"version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"}) {
    if (!bytes.starts_with(start)) continue;
    return absl::DataLossError(fmt::format(
        "{}: a Git LFS pointer, not the file itself; fetch it with \"git lfs pull\" in its "
        "folder, or download it",
        path));
  }
  for (const std::string_view start : {"<!DOCTYPE html", "<!doctype html", "<html"}) {
    if (!bytes.starts_with(start)) continue;
    return absl::DataLossError(
        fmt::format("{}: a web page, not the file itself; download the file", path));
  }
  return absl::OkStatus();
}

}  // namespace catena
