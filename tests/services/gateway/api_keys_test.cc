#include "services/gateway/api_keys.h"

#include <filesystem>
#include <thread>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "model/file_limits.h"
#include "services/gateway/key_file.h"
#include "tests/services/log_lines.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

TEST(ApiKeysTest, NoKeyIsUnauthenticatedAndAWrongOneIsDenied) {
  const auto keys = ApiKeys::Parse("# ours\nfirst\r\n\n  second  \n", "keys");
  ASSERT_TRUE(keys.ok()) << keys.status();
  for (const char* good : {"Bearer first", "bearer second", "BEARER  first "}) {
    EXPECT_TRUE(keys->Check(good).ok()) << good;
  }
  for (const char* none : {"", "first", "Basic first", "Bearer"}) {
    EXPECT_TRUE(absl::IsUnauthenticated(keys->Check(none))) << none;
  }
  EXPECT_TRUE(absl::IsUnauthenticated(keys->Check(std::nullopt)));
  for (const char* wrong : {"Bearer ", "Bearer firs", "Bearer firstx", "Bearer firstfirst",
                            "Bearer FIRST", "Bearer # ours", "Bearer first second"}) {
    EXPECT_TRUE(absl::IsPermissionDenied(keys->Check(wrong))) << wrong;
  }
}

TEST(ApiKeysTest, AFileWithoutKeysOrWithBadOnesDoesNotOpenTheDoor) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "two words\n", "k\xC3\xA4y\n"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ApiKeys::Parse(text, "keys").status())) << text;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ApiKeys::Parse(std::string(600, 'k'), "keys").status()));
  TempDir folder;
  const auto open = [](const std::string& path) {
    return KeyFile::Open(path, KeyKind::kApi).status();
  };
  EXPECT_TRUE(absl::IsNotFound(open(folder.path() + "/none")));
  EXPECT_TRUE(absl::IsInvalidArgument(open(folder.path())));
  EXPECT_TRUE(absl::IsInvalidArgument(open(folder.Write("empty", ""))));
  const std::string pipe = folder.path() + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(open(pipe))) << "nobody writes to it";
  const std::string large = folder.Write("large", "k\n");
  std::filesystem::resize_file(large, limits::kKeysBytes + 1);
  EXPECT_TRUE(absl::IsDataLoss(open(large)));
  EXPECT_TRUE(absl::IsInvalidArgument(open("/dev/zero")));
  EXPECT_TRUE(open(folder.Write("keys", "k\n")).ok());
}

class KeyFileTest : public testing::Test {
 protected:
  // As files should be replaced: whole, by a rename.
  void Replace(const std::string& text) {
    folder_.Write("new", text);
    std::filesystem::rename(folder_.path() + "/new", path_);
  }
  // Until the key is taken, or no longer.
  testing::AssertionResult Comes(const char* key, bool taken) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (file_->ring().Keys()->Check(key).ok() != taken) {
      if (std::chrono::steady_clock::now() > end) return testing::AssertionFailure() << key;
      std::this_thread::yield();
    }
    return testing::AssertionSuccess();
  }

  LogLines log_;
  TempDir folder_;
  const std::string path_ = folder_.Write("keys", "first\n");
  std::unique_ptr<KeyFile> file_ =
      *KeyFile::Open(path_, KeyKind::kApi, std::chrono::milliseconds(1));
};

TEST_F(KeyFileTest, AChangedFileCountsAndItsOldKeysDoNot) {
  Replace("second\n");
  EXPECT_TRUE(Comes("Bearer second", true));
  EXPECT_TRUE(Comes("Bearer first", false));
  Replace("first\n");
  EXPECT_TRUE(Comes("Bearer first", true));
  EXPECT_TRUE(Comes("Bearer second", false));
}

TEST_F(KeyFileTest, APipeInItsPlaceIsNotWaitedFor) {
  ASSERT_EQ(mkfifo((folder_.path() + "/new").c_str(), 0600), 0);
  std::filesystem::rename(folder_.path() + "/new", path_);
  EXPECT_TRUE(log_.WaitFor("not a regular file"));
  EXPECT_TRUE(file_->ring().Keys()->Check("Bearer first").ok());
  Replace("third\n");
  EXPECT_TRUE(Comes("Bearer third", true));
}

TEST_F(KeyFileTest, ABrokenOrAbsentFileLeavesTheKeysAsTheyAreAndTheLogSaysSo) {
  Replace("two words\n");
  EXPECT_TRUE(log_.WaitFor("visible ASCII"));
  EXPECT_TRUE(file_->ring().Keys()->Check("Bearer first").ok());
  std::filesystem::remove(path_);
  EXPECT_TRUE(log_.WaitFor("no such file"));
  EXPECT_TRUE(file_->ring().Keys()->Check("Bearer first").ok());
  Replace("third\n");
  EXPECT_TRUE(Comes("Bearer third", true));
  EXPECT_EQ(log_.With("still count").size(), 2u);
}

}  // namespace
}  // namespace catena
