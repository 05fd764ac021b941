// What an operator's tools read: the page of metrics, and whether a process lives and serves.
#include "services/telemetry/operator_port.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "services/telemetry/process_metrics.h"
#include "tests/services/telemetry/http_client.h"

namespace catena {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(ExpositionTest, WritesFamiliesAsPrometheusReadsThem) {
  Exposition page;
  page.Counter("a_total", "Of a\\b\nc.", 3);
  page.Family("b_ratio", Exposition::kGauge, "Of b.");
  page.Sample(0.25, {{"x", "1"}, {"y", "a\"b\\c\nd"}});
  page.Sample(1e-7);
  EXPECT_EQ(page.text(),
            "# HELP a_total Of a\\\\b\\nc.\n# TYPE a_total counter\na_total 3\n"
            "# HELP b_ratio Of b.\n# TYPE b_ratio gauge\n"
            "b_ratio{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 0.25\nb_ratio 1e-07\n");
}

TEST(ExpositionTest, AHistogramsBucketsHoldAllThatIsBelowThem) {
  static constexpr double kBounds[] = {0.5, 2};
  Histogram histogram(kBounds);
  for (const double value : {0.5, 0.25, 0.75, 2.0, 3.0}) histogram.Add(value);
  Exposition page;
  page.Family("a_seconds", Exposition::kHistogram, "Of a.");
  page.Sample(histogram, {{"lane", "bulk"}});
  EXPECT_EQ(page.text(),
            "# HELP a_seconds Of a.\n# TYPE a_seconds histogram\n"
            "a_seconds_bucket{lane=\"bulk\",le=\"0.5\"} 2\n"
            "a_seconds_bucket{lane=\"bulk\",le=\"2\"} 4\n"
            "a_seconds_bucket{lane=\"bulk\",le=\"+Inf\"} 5\n"
            "a_seconds_sum{lane=\"bulk\"} 6.5\na_seconds_count{lane=\"bulk\"} 5\n");
}

class OperatorPortTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto port = OperatorPort::Start({.listen = "127.0.0.1:0"});
    ASSERT_TRUE(port.ok()) << port.status();
    port_ = *std::move(port);
  }
  std::string Ask(const std::string& path) { return Get(port_->address(), path); }

  std::unique_ptr<OperatorPort> port_;
};

TEST_F(OperatorPortTest, APageHasWhatIsRegisteredAndNothingThatHasGone) {
  auto first = port_->Add([](Exposition& page) { page.Gauge("first", "First.", 1); });
  {
    const auto second = port_->Add([](Exposition& page) { page.Gauge("second", "Second.", 2); });
    EXPECT_THAT(Ask("/metrics"), HasSubstr("text/plain; version=0.0.4; charset=utf-8\r\n"));
    EXPECT_THAT(BodyOf(Ask("/metrics")), HasSubstr("\nsecond 2\n"));
  }
  EXPECT_THAT(BodyOf(Ask("/metrics")), Not(HasSubstr("second")));
  EXPECT_THAT(BodyOf(Ask("/metrics")), HasSubstr("\nfirst 1\n"));
}

TEST_F(OperatorPortTest, ReadyIsWhatTheRoleSays) {
  EXPECT_THAT(Ask("/readyz"), StartsWith("HTTP/1.1 503 "));
  port_->SetReady(absl::OkStatus());
  EXPECT_THAT(Ask("/readyz"), StartsWith("HTTP/1.1 200 "));
  port_->SetReady(absl::UnavailableError("no replica holds blocks [8, 16)"));
  EXPECT_THAT(Ask("/readyz"), StartsWith("HTTP/1.1 503 "));
  EXPECT_EQ(BodyOf(Ask("/readyz")), "no replica holds blocks [8, 16)\n");
}

TEST_F(OperatorPortTest, AliveIsWhatAllChecksSay) {
  EXPECT_THAT(Ask("/livez"), StartsWith("HTTP/1.1 200 "));
  const auto good = port_->AddCheck([] { return absl::OkStatus(); });
  {
    const auto bad = port_->AddCheck([] { return absl::UnavailableError("work stands still"); });
    EXPECT_THAT(Ask("/livez"), StartsWith("HTTP/1.1 503 "));
    EXPECT_EQ(BodyOf(Ask("/livez")), "work stands still\n");
  }
  EXPECT_THAT(Ask("/livez"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(OperatorPortTest, OtherPathsSayWhichThereAre) {
  EXPECT_THAT(Ask("/"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(BodyOf(Ask("/")), HasSubstr("/metrics"));
}

TEST(OperatorPortOffTest, WithoutAnAddressNobodyCanAsk) {
  const auto port = OperatorPort::Start({});
  ASSERT_TRUE(port.ok()) << port.status();
  EXPECT_EQ((*port)->address(), "");
  const auto registered = (*port)->Add([](Exposition&) {});
}

TEST(ProcessMetricsTest, SaysWhatTheKernelDoes) {
  Exposition page;
  AddProcessMetrics("shard", "1.2.3", page);
  EXPECT_THAT(page.text(), HasSubstr("catena_build_info{role=\"shard\",version=\"1.2.3\"} 1\n"));
  const auto value = [&](const std::string& name) {
    const size_t at = page.text().find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(page.text().substr(at + name.size() + 2));
  };
  EXPECT_GT(value("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(value("process_virtual_memory_bytes"), value("process_resident_memory_bytes"));
  EXPECT_GE(value("process_cpu_seconds_total"), 0);
  EXPECT_GE(value("process_threads"), 1);
  EXPECT_GE(value("process_open_fds"), 3);
  EXPECT_GE(value("process_max_fds"), value("process_open_fds"));
  const double age = static_cast<double>(time(nullptr)) - value("process_start_time_seconds");
  EXPECT_GT(age, -2);
  EXPECT_LT(age, 3600);
}

}  // namespace
}  // namespace catena
