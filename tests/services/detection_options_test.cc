#include "services/cli/detection_options.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace catena::cli {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

// What a command with these flags says when it is run: "" where it starts.
std::string Answer(void (*declare)(DetectionOptions* o, App& app), DetectionOptions* o,
                   std::vector<std::string> args) {
  static DetectionOptions* options = nullptr;
  static void (*declare_now)(DetectionOptions*, App&) = nullptr;
  options = o;
  declare_now = declare;
  const Command command{"role", "a role", [](App& app) -> Action {
                          declare_now(options, app);
                          return [] { return options->Check(); };
                        }};
  args.insert(args.begin(), {"catena", "role"});
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  const Parsed parsed =
      ParseCommandLine(static_cast<int>(argv.size()), argv.data(), "0", {command});
  if (parsed.action == nullptr) return parsed.error;
  return std::string(Message(parsed.action()));
}
void Gateway(DetectionOptions* o, App& app) { o->DeclareForGateway(app); }
void Stage(DetectionOptions* o, App& app) { o->DeclareForStage(app); }

TEST(ParseDuration, TakesNumbersWithUnits) {
  EXPECT_EQ(*ParseDuration("--x", "500ms"), milliseconds(500));
  EXPECT_EQ(*ParseDuration("--x", "1.5s"), milliseconds(1'500));
  EXPECT_EQ(*ParseDuration("--x", "2m"), milliseconds(120'000));
  EXPECT_EQ(*ParseDuration("--x", "1h"), milliseconds(3'600'000));
  for (const char* wrong : {"", "10", "s", "-1s", "0s", "2h", "1e9s", "10 s", "nan", "infs"}) {
    const absl::Status status = ParseDuration("--x", wrong).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << wrong;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("--x"));
  }
}

TEST(DetectionOptions, AreTakenByTheRolesThatUseThem) {
  DetectionOptions gateway, stage;
  EXPECT_EQ(Answer(Gateway, &gateway, {"--no-progress", "30s", "--probes-to-lose", "3"}), "");
  EXPECT_EQ(gateway.limits.no_progress, milliseconds(30'000));
  EXPECT_EQ(gateway.limits.probes_to_lose, 3);
  EXPECT_EQ(gateway.limits.lease, limits::DetectionLimits().lease);
  EXPECT_EQ(Answer(Stage, &stage, {"--lease", "20s", "--heartbeat", "250ms"}), "");
  EXPECT_EQ(stage.limits.lease, milliseconds(20'000));
  EXPECT_EQ(stage.limits.heartbeat, milliseconds(250));
  EXPECT_EQ(Answer(Stage, &stage, {"--no-progress", "1s"}), "");  // a gateway probes, no stage
  EXPECT_EQ(stage.limits.no_progress, milliseconds(1'000));
  EXPECT_EQ(Answer(Stage, &stage, {"--hello", "2s", "--give-up", "90s"}), "");
  EXPECT_EQ(stage.limits.hello, milliseconds(2'000));
  EXPECT_EQ(stage.limits.give_up, milliseconds(90'000));
  EXPECT_EQ(Answer(Gateway, &gateway, {"--give-up", "5s", "--wait-for-route", "1m"}), "");
  EXPECT_EQ(gateway.limits.wait_for_route, milliseconds(60'000));
  EXPECT_THAT(Answer(Gateway, &gateway, {"--hello", "1s"}), HasSubstr("--hello"));
  EXPECT_THAT(Answer(Stage, &stage, {"--probe-every", "1s"}), HasSubstr("--probe-every"));
}

TEST(DetectionOptions, ThatContradictEachOtherAreRefused) {
  DetectionOptions stage, gateway, text;
  EXPECT_THAT(Answer(Stage, &stage, {"--lease", "800ms"}), HasSubstr("--lease 800ms"));
  EXPECT_THAT(Answer(Gateway, &gateway, {"--no-progress", "2s"}), HasSubstr("--no-progress 2s"));
  EXPECT_THAT(Answer(Gateway, &text, {"--no-progress", "soon"}), HasSubstr("500ms or 10s"));
}

TEST(DetectionOptions, UpHandsEachToWhomItIsFor) {
  static std::map<std::string, std::pair<DetectionUser, std::string>> handed;
  const auto declare = [](DetectionOptions*, App& app) {
    DeclareDetection(app,
                     [](DetectionUser user, const std::string& flag, const std::string& value) {
                       handed[flag] = {user, value};
                     });
  };
  DetectionOptions unused;
  EXPECT_EQ(Answer(declare, &unused,
                   {"--lease", "20s", "--keepalive", "1s", "--probe-every", "2s",
                    "--probes-to-lose", "4"}),
            "");
  EXPECT_EQ(handed.size(), 4u);
  EXPECT_EQ(handed["--lease"], std::pair(DetectionUser::kStage, std::string("20s")));
  EXPECT_EQ(handed["--keepalive"], std::pair(DetectionUser::kBoth, std::string("1s")));
  EXPECT_EQ(handed["--probe-every"], std::pair(DetectionUser::kGateway, std::string("2s")));
  EXPECT_EQ(handed["--probes-to-lose"], std::pair(DetectionUser::kGateway, std::string("4")));
}

}  // namespace
}  // namespace catena::cli
