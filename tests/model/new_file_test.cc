#include "model/new_file.h"

#include <csignal>
#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "model/read_file.h"
#include "tests/temp_dir.h"

namespace catena {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::Span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class NewFileTest : public ::testing::Test {
 protected:
  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const auto& e : std::filesystem::directory_iterator(dir_.path())) {
      names.insert(e.path().filename().string());
    }
    return names;
  }
  std::string Content() const { return *ReadFile(path_, 1000); }

  const TempDir dir_;
  const std::string path_ = dir_.path() + "/new";
};

TEST_F(NewFileTest, HasItsNameOnceItIsWhole) {
  {
    const auto file = *NewFile::Create(path_, false);
    ASSERT_TRUE(file->Reserve(6).ok());
    ASSERT_TRUE(file->Write(AsBytes("abc")).ok());
    EXPECT_FALSE(std::filesystem::exists(path_));
    ASSERT_TRUE(file->Write(AsBytes("def")).ok());
    EXPECT_EQ(file->written(), 6u);
    EXPECT_EQ(*ReadFile(file->temporary_path(), 1000), "abcdef");
    ASSERT_TRUE(file->Keep().ok());
  }
  EXPECT_THAT(Files(), ElementsAre("new"));
  EXPECT_EQ(Content(), "abcdef");
}

TEST_F(NewFileTest, LeavesNothingWhereItIsNotKept) {
  {
    const auto file = *NewFile::Create(path_, false);
    ASSERT_TRUE(file->Write(AsBytes("abc")).ok());
    EXPECT_EQ(Files().size(), 1u);
  }
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(NewFileTest, WhatIsThereMakesWayOnlyWhereItMay) {
  dir_.Write("new", "old");
  const auto refused = NewFile::Create(path_, false);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Content(), "old");
  const auto file = *NewFile::Create(path_, true);
  ASSERT_TRUE(file->Write(AsBytes("abc")).ok());
  EXPECT_EQ(Content(), "old");
  ASSERT_TRUE(file->Keep().ok());
  EXPECT_EQ(Content(), "abc");
  EXPECT_THAT(Files(), ElementsAre("new"));
}

TEST_F(NewFileTest, ALinkToNothingIsThereToo) {
  std::filesystem::create_symlink("absent", path_);
  EXPECT_EQ(NewFile::CheckPlace(path_, false).code(), absl::StatusCode::kAlreadyExists);
  const auto file = *NewFile::Create(path_, true);
  ASSERT_TRUE(file->Write(AsBytes("abc")).ok());
  ASSERT_TRUE(file->Keep().ok());
  EXPECT_FALSE(std::filesystem::is_symlink(path_));
  EXPECT_EQ(Content(), "abc");
}

TEST_F(NewFileTest, WhatCameThereMeanwhileStays) {
  {
    const auto file = *NewFile::Create(path_, false);
    dir_.Write("new", "other");
    EXPECT_EQ(file->Keep().code(), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(Content(), "other");
  EXPECT_THAT(Files(), ElementsAre("new"));
}

TEST_F(NewFileTest, ALookAtThePlaceLeavesNoTrace) {
  EXPECT_TRUE(NewFile::CheckPlace(path_, false).ok());
  EXPECT_THAT(Files(), IsEmpty());
  dir_.Write("new", "old");
  EXPECT_TRUE(absl::IsAlreadyExists(NewFile::CheckPlace(path_, false)));
  EXPECT_TRUE(NewFile::CheckPlace(path_, true).ok());
}

TEST_F(NewFileTest, TwoAtATimeAreApart) {
  const auto one = *NewFile::Create(path_, true), other = *NewFile::Create(path_, true);
  EXPECT_NE(one->temporary_path(), other->temporary_path());
}

TEST_F(NewFileTest, RefusesPlacesThatAreNone) {
  const auto code = [](const std::string& path) {
    return NewFile::Create(path, true).status().code();
  };
  EXPECT_EQ(code(dir_.path() + "/absent/new"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(dir_.path()), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("/dev/null"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(dir_.Write("file", "x") + "/new"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(dir_.path() + "/" + std::string(300, 'x')), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Files(), ElementsAre("file"));
}

TEST_F(NewFileTest, AFullDiskIsAnErrorThatLeavesNothing) {
  struct rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit few = before;
  few.rlim_cur = 100;
  setrlimit(RLIMIT_FSIZE, &few);
  {
    const auto file = *NewFile::Create(path_, false);
    const absl::Status status = file->Write(std::vector<uint8_t>(1000));
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(Message(status)), HasSubstr(path_));
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(Files(), IsEmpty());
}

}  // namespace
}  // namespace catena
