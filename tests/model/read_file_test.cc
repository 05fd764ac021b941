// Paths that name no ordinary file, and files that are too large, end at once and cost nothing.
#include "model/read_file.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "model/file_limits.h"
#include "model/weights/mapped_file.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kLimit = 1000;

int64_t PeakKib() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void ExpectRefused(const std::string& path, absl::StatusCode code, const char* message) {
  const absl::Status status = ReadFile(path, kLimit).status();
  EXPECT_EQ(status.code(), code) << path << ": " << status;
  EXPECT_THAT(std::string(Message(status)), HasSubstr(path));
  EXPECT_THAT(std::string(Message(status)), HasSubstr(message));
}

TEST(ReadFile, GivesAFilesBytesUpToTheLimit) {
  const TempDir dir;
  EXPECT_EQ(*ReadFile(dir.Write("empty", ""), kLimit), "");
  const std::string bytes("a\0\n\xff", 4);
  EXPECT_EQ(*ReadFile(dir.Write("bytes", bytes), kLimit), bytes);
  EXPECT_EQ(ReadFile(dir.Write("most", std::string(kLimit, 'x')), kLimit)->size(), kLimit);
  ExpectRefused(dir.Write("more", std::string(kLimit + 1, 'x')), absl::StatusCode::kDataLoss,
                "1001 bytes");
}

TEST(ReadFile, RefusesWhatIsNoRegularFileAtOnce) {
  const TempDir dir;
  const auto kInvalid = absl::StatusCode::kInvalidArgument;
  const std::string fifo = dir.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  ExpectRefused(fifo, kInvalid, "a pipe");
  ExpectRefused(dir.path(), kInvalid, "a folder");
  ExpectRefused("/dev/zero", kInvalid, "a device");
  const std::string path = dir.path() + "/socket";
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(path.size(), sizeof address.sun_path);
  path.copy(address.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ExpectRefused(path, kInvalid, "a socket");
  close(fd);
  for (const std::string& special : {fifo, dir.path(), std::string("/dev/zero"), path}) {
    EXPECT_EQ(MappedFile::Open(special).status().code(), kInvalid) << special;
  }
}

TEST(ReadFile, SaysThatThereIsNone) {
  const TempDir dir;
  const auto kNotFound = absl::StatusCode::kNotFound;
  ExpectRefused(dir.path() + "/none", kNotFound, "no such file");
  ExpectRefused(dir.Write("file", "") + "/below", kNotFound, "no such file");
  const std::string dangling = dir.path() + "/link";
  std::filesystem::create_symlink("nowhere", dangling);
  ExpectRefused(dangling, kNotFound, "no such file");
  const std::string loop = dir.path() + "/loop";
  std::filesystem::create_symlink(loop, loop);
  ExpectRefused(loop, absl::StatusCode::kInvalidArgument, "symbolic links");
}

TEST(ReadFile, ASparseFileCostsNothing) {
  const TempDir dir;
  const std::string path = dir.Write("sparse", "");
  ASSERT_EQ(truncate(path.c_str(), off_t{20} << 30), 0);
  const int64_t before = PeakKib();
  ExpectRefused(path, absl::StatusCode::kDataLoss, "21474836480 bytes");
  EXPECT_EQ(ReadFile(path, limits::kTokenizerJson.max_bytes).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_LT(PeakKib() - before, 16 << 10);
}

// Files of /proc say that they have no bytes.
TEST(ReadFile, AFileWhoseSizeIsUnknownIsReadUpToTheLimit) {
  EXPECT_GT(ReadFile("/proc/self/status", 1 << 20)->size(), 100u);
  ExpectRefused("/proc/self/status", absl::StatusCode::kDataLoss, "over 1000 bytes");
}

TEST(ReadFile, NamesWhatStandsInForAFile) {
  const TempDir dir;
  for (const char* host : {"git-lfs.github.com", "hawser.github.com"}) {
    ExpectRefused(dir.Write("lfs", fmt::format("version https://{}/spec/v1\noid sha256:0\n", host)),
                  absl::StatusCode::kDataLoss, "git lfs pull");
  }
  ExpectRefused(dir.Write("html", "<!DOCTYPE html>\n"), absl::StatusCode::kDataLoss, "web page");
}

}  // namespace
}  // namespace catena
