#include "model/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena {
namespace {

using ::testing::HasSubstr;

constexpr JsonLimits kLimits = {.max_bytes = 4 << 20, .max_depth = 64, .max_memory = 8 << 20};

absl::StatusOr<nlohmann::json> Parse(std::string_view text) {
  return ParseJson(text, "f", kLimits);
}

TEST(Json, ParsesWhatIsWellFormed) {
  auto j = ParseJson(R"({"a": [1, 2.5, "x", true, null], "b": {"c": -3}})", "f.json", kLimits);
  ASSERT_TRUE(j.ok()) << j.status();
  EXPECT_EQ((*j)["b"]["c"], -3);
  EXPECT_EQ((*j)["a"].size(), 5u);
}

TEST(Json, NamesTheSourceOfWhatIsMalformed) {
  for (const char* text : {"", "{", "{\"a\":1,}", "[1 2]", "nul", "{\"a\":1} x", "\"\xff\""}) {
    auto j = ParseJson(text, "f.json", kLimits);
    EXPECT_EQ(j.status().code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_THAT(std::string(Message(j.status())), HasSubstr("f.json"));
  }
}

TEST(Json, RefusesDuplicateKeysButNotEqualKeysOfTwoObjects) {
  EXPECT_FALSE(ParseJson(R"({"a":1,"b":{},"a":2})", "f", kLimits).ok());
  EXPECT_TRUE(ParseJson(R"([{"a":1},{"a":{"a":2}}])", "f", kLimits).ok());
}

TEST(Json, RefusesDepthBeforeItCostsStack) {
  std::string deep(1'000'000, '[');
  EXPECT_THAT(std::string(Message(ParseJson(deep, "f", kLimits).status())), HasSubstr("deeper"));
  std::string shallow = std::string(64, '[') + std::string(64, ']');
  EXPECT_TRUE(ParseJson(shallow, "f", kLimits).ok());
}

TEST(Json, RefusesTextOverItsLimit) {
  const std::string text(kLimits.max_bytes + 1, ' ');
  EXPECT_THAT(std::string(Message(Parse(text).status())), HasSubstr("more than the limit"));
}

// A few bytes of text become tens in memory, whatever is repeated.
TEST(Json, RefusesWhatCostsMoreMemoryThanItsLimit) {
  const auto list = [](std::string_view item) {
    std::string text = "[";
    while (text.size() < 3'000'000) text.append(item).push_back(',');
    return text.append(item) + "]";
  };
  for (const char* item : {"0", "[]", "{}", "\"\"", "null", "1e1", "{\"\":0}"}) {
    EXPECT_THAT(std::string(Message(Parse(list(item)).status())), HasSubstr("more values than fit"))
        << item;
  }
  std::string object = "{\"a\":0";
  for (int i = 0; i < 200'000; ++i) object += fmt::format(",\"{}\":0", i);
  EXPECT_THAT(std::string(Message(Parse(object + "}").status())),
              HasSubstr("more values than fit"));
  // Text alone costs what it has.
  EXPECT_TRUE(Parse("\"" + std::string(4'000'000, 'x') + "\"").ok());
}

TEST(Json, AWholeNumberIsAnIntegerHoweverItIsWritten) {
  const auto j = *Parse(R"({"a":4.0,"b":-4e2,"c":4.5,"d":1e300,"e":true,"f":9007199254740993.0})");
  EXPECT_EQ(**GetInt(j, "a", "f"), 4);
  EXPECT_EQ(**GetInt(j, "b", "f"), -400);
  for (const char* key : {"c", "d", "e"}) EXPECT_FALSE(GetInt(j, key, "f").ok()) << key;
}

TEST(Json, FieldsOfAnotherTypeAreErrorsThatNameTheKey) {
  auto j =
      ParseJson(R"({"i":7,"f":1.5,"s":"x","big":18446744073709551615,"n":null})", "f", kLimits);
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
