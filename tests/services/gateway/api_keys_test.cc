#include "services/gateway/api_keys.h"

#include <gtest/gtest.h>

#include "tests/temp_dir.h"

namespace catena {
namespace {

TEST(ApiKeysTest, WithoutKeysAnyoneMayAsk) {
  EXPECT_TRUE(ApiKeys().Check(std::nullopt).ok());
  EXPECT_TRUE(ApiKeys().Check("Bearer anything").ok());
}

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
  EXPECT_TRUE(absl::IsNotFound(ApiKeys::FromFile(folder.path() + "/none").status()));
  EXPECT_TRUE(ApiKeys::FromFile(folder.Write("keys", "k\n")).ok());
}

}  // namespace
}  // namespace catena
