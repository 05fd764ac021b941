#include "model/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using ::testing::HasSubstr;

TEST(Json, ParsesWhatIsWellFormed) {
  auto j = ParseJson(R"({"a": [1, 2.5, "x", true, null], "b": {"c": -3}})", "f.json");
  ASSERT_TRUE(j.ok()) << j.status();
  EXPECT_EQ((*j)["b"]["c"], -3);
  EXPECT_EQ((*j)["a"].size(), 5u);
}

TEST(Json, NamesTheSourceOfWhatIsMalformed) {
  for (const char* text : {"", "{", "{\"a\":1,}", "[1 2]", "nul", "{\"a\":1} x", "\"\xff\""}) {
    auto j = ParseJson(text, "f.json");
    EXPECT_EQ(j.status().code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_THAT(std::string(Message(j.status())), HasSubstr("f.json"));
  }
}

TEST(Json, RefusesDuplicateKeysButNotEqualKeysOfTwoObjects) {
  EXPECT_FALSE(ParseJson(R"({"a":1,"b":{},"a":2})", "f").ok());
  EXPECT_TRUE(ParseJson(R"([{"a":1},{"a":{"a":2}}])", "f").ok());
}

TEST(Json, RefusesDepthBeforeItCostsStack) {
  std::string deep(1'000'000, '[');
  EXPECT_THAT(std::string(Message(ParseJson(deep, "f").status())), HasSubstr("deeper"));
  std::string shallow = std::string(64, '[') + std::string(64, ']');
  EXPECT_TRUE(ParseJson(shallow, "f").ok());
}

TEST(Json, FieldsOfAnotherTypeAreErrorsThatNameTheKey) {
  auto j = ParseJson(R"({"i":7,"f":1.5,"s":"x","big":18446744073709551615,"n":null})", "f");
  ASSERT_TRUE(j.ok());
  EXPECT_EQ(**GetInt(*j, "i", "f"), 7);
  EXPECT_EQ(*GetInt(*j, "absent", "f"), std::nullopt);
  EXPECT_EQ(*GetInt(*j, "n", "f"), std::nullopt);
  EXPECT_EQ(**GetDouble(*j, "i", "f"), 7.0);
  for (const char* key : {"f", "s", "big"}) {
    EXPECT_THAT(std::string(Message(GetInt(*j, key, "f").status())), HasSubstr(key));
  }
  EXPECT_FALSE(GetString(*j, "i", "f").ok());
  EXPECT_FALSE(GetBool(*j, "i", "f").ok());
}

}  // namespace
}  // namespace catena
