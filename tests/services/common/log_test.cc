// A line of the log is one line, whatever is in it, and in JSON an object.
#include "services/common/log.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "services/common/line_limit.h"

namespace catena {
namespace {

using nlohmann::json;

// What `log` writes to stderr.
template <typename F>
std::string Written(const std::string& format, F log) {
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(InitLog({.role = "gateway", .format = format}).ok());
  log();
  return ::testing::internal::GetCapturedStderr();
}

constexpr char kHostile[] = "a\nb\"c\\d\x1b[31m\x1f\",\"x\":1 \xFF";

TEST(LogTest, TextIsOneLineWhateverIsInIt) {
  const std::string line = Written("text", [] { spdlog::warn("{}", kHostile); });
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_NE(line.find(" warning gateway: a b\"c"), std::string::npos) << line;
}

TEST(LogTest, JsonIsOneObjectALineWhateverIsInIt) {
  const std::string line = Written("json", [] { spdlog::warn("{}", kHostile); });
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  const json object = json::parse(line);
  EXPECT_EQ(object.size(), 4u) << line;
  EXPECT_EQ(object["level"], "warning");
  EXPECT_EQ(object["role"], "gateway");
  EXPECT_EQ(object["message"], "a\nb\"c\\d\x1b[31m\x1f\",\"x\":1 \xEF\xBF\xBD");
  const std::string time = object["time"];
  EXPECT_EQ(time.size(), 24u) << time;
  EXPECT_EQ(time.back(), 'Z');
}

TEST(LogTest, FactsAreWordsInTextAndMembersInJson) {
  const auto log = [] {
    LogFacts("request", {{"status", "OK"},
                         {"request_id", kHostile},
                         {"tokens", int64_t{7}},
                         {"seconds", 0.25},
                         {"empty", ""}});
  };
  const std::string text = Written("text", log);
  EXPECT_NE(text.find(" info gateway: request status=OK request_id=\"a\\u000ab\\\"c"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find(" tokens=7 seconds=0.250 empty=\"\"\n"), std::string::npos) << text;
  const json object = json::parse(Written("json", log));
  EXPECT_EQ(object["message"], "request");
  EXPECT_EQ(object["status"], "OK");
  EXPECT_EQ(object["tokens"], 7);
  EXPECT_EQ(object["seconds"], 0.25);
  EXPECT_EQ(object.size(), 9u);
}

TEST(LineLimitTest, HoldsBackWhatIsTooMuchAndSaysSo) {
  LineLimit limit(2, std::chrono::seconds(10));
  const LineLimit::Clock::time_point start{std::chrono::hours(1)};
  EXPECT_EQ(limit.Take(start), 0);
  EXPECT_EQ(limit.Take(start), 0);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(limit.Take(start + std::chrono::seconds(9)), std::nullopt);
  EXPECT_EQ(limit.Take(start + std::chrono::seconds(10)), 5);
  EXPECT_EQ(limit.Take(start + std::chrono::seconds(10)), 0);
  EXPECT_EQ(limit.Take(start + std::chrono::seconds(10)), std::nullopt);
}

TEST(LogTest, OtherLevelsAndFormatsAreRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(InitLog({.role = "x", .level = "loud"})));
  EXPECT_TRUE(absl::IsInvalidArgument(InitLog({.role = "x", .format = "xml"})));
}

}  // namespace
}  // namespace catena
