#include "services/cli/detection_options.h"

#include <charconv>

namespace catena::cli {
namespace {

using limits::DetectionLimits;
using std::chrono::milliseconds;

constexpr char kDetectionGroup[] = "How failures are noticed";
constexpr milliseconds kLongest = std::chrono::hours(1);

struct Flag {
  const char* name;
  milliseconds DetectionLimits::*limit;
  DetectionUser user;
  const char* help;
};
constexpr DetectionUser kGateway = DetectionUser::kGateway, kStage = DetectionUser::kStage,
                        kBoth = DetectionUser::kBoth;

constexpr Flag kFlags[] = {
    {"--heartbeat", &DetectionLimits::heartbeat, kBoth,
     "What is open, and what was sent, is said again so often"},
    {"--lease", &DetectionLimits::lease, kStage,
     "What a gateway has open ends where it is silent for so long"},
    {"--no-progress", &DetectionLimits::no_progress, kBoth,
     "A stage that has work and makes no progress for so long has failed"},
    {"--wait-for-route", &DetectionLimits::wait_for_route, kGateway,
     "A request whose stages are gone waits so long for others"},
    {"--probe-every", &DetectionLimits::probe_every, kGateway,
     "Each replica is asked how it is so often"},
    {"--probe-timeout", &DetectionLimits::probe_timeout, kGateway,
     "An answer to that is awaited for so long"},
    {"--keepalive", &DetectionLimits::keepalive, kBoth,
     "A connection that is silent for so long is asked whether it is there"},
    {"--keepalive-timeout", &DetectionLimits::keepalive_timeout, kBoth,
     "It is closed where no answer comes in time"},
    {"--longest-batch", &DetectionLimits::longest_batch, kStage,
     "What a stage computes together takes about so long at most"},
    {"--hello", &DetectionLimits::hello, kStage,
     "Who opens a link and does not say for so long who it is is refused"},
    {"--give-up", &DetectionLimits::give_up, kBoth,
     "A link that is down for so long is forgotten, and made anew when it is needed"},
};
constexpr char kProbesToLose[] = "--probes-to-lose";
constexpr char kProbesToLoseHelp[] = "A replica is absent after so many in vain";
constexpr int kMostProbes = 100;

std::string Text(milliseconds d) {
  const auto ms = d.count();
  return ms % 1000 == 0 ? fmt::format("{}s", ms / 1000) : fmt::format("{}ms", ms);
}

Option Add(App& app, const Flag& flag, const OptionTarget& target) {
  const std::string help =
      fmt::format("{} (default {})", flag.help, Text(DetectionLimits().*flag.limit));
  return app.AddOption(flag.name, target, help).Check(CheckDuration).Group(kDetectionGroup);
}

Option AddProbesToLose(App& app, const OptionTarget& target) {
  const std::string help =
      fmt::format("{} (default {})", kProbesToLoseHelp, DetectionLimits().probes_to_lose);
  return app.AddOption(kProbesToLose, target, help).Range(1, kMostProbes).Group(kDetectionGroup);
}

void Declare(App& app, DetectionUser user, DetectionLimits* limits) {
  for (const Flag& flag : kFlags) {
    if (flag.user != user && flag.user != kBoth) continue;
    const auto set = [&flag, limits](const std::string& text) {
      limits->*flag.limit = *ParseDuration(flag.name, text);  // which was checked before
    };
    Add(app, flag, set);
  }
}

}  // namespace

absl::StatusOr<milliseconds> ParseDuration(std::string_view flag, std::string_view text) {
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const auto& [unit, factor] : kUnits) {
    const double ms = number * factor;
    if (error == std::errc() && rest == unit && 1 <= ms &&
        ms <= static_cast<double>(kLongest.count())) {
      return milliseconds(static_cast<int64_t>(ms));
    }
  }
  return absl::InvalidArgumentError(
      fmt::format("{} {}: write a time as 500ms or 10s", flag, Quoted(text)));
}

std::string CheckDuration(const std::string& text) {
  const absl::Status status = ParseDuration("", text).status();
  return status.ok() ? "" : fmt::format("{}: write a time as 500ms or 10s", Quoted(text));
}

void DetectionOptions::DeclareForGateway(App& app) {
  probes_ = true;
  Declare(app, kGateway, &limits);
  AddProbesToLose(app, &limits.probes_to_lose);
}

void DetectionOptions::DeclareForStage(App& app) { Declare(app, kStage, &limits); }

absl::Status DetectionOptions::Check() const {
  if (2 * limits.heartbeat > limits.lease) {
    return absl::InvalidArgumentError(
        fmt::format("--lease {} must be at least twice --heartbeat {}: one may be lost",
                    Text(limits.lease), Text(limits.heartbeat)));
  }
  if (probes_ && 2 * (limits.probe_every + limits.probe_timeout) > limits.no_progress) {
    return absl::InvalidArgumentError(fmt::format(
        "--no-progress {} must leave time for two probes: it must be at least twice "
        "--probe-every {} and --probe-timeout {} together",
        Text(limits.no_progress), Text(limits.probe_every), Text(limits.probe_timeout)));
  }
  return absl::OkStatus();
}

void DeclareDetection(App& app, const HandDetection& hand) {
  for (const Flag& flag : kFlags) {
    const auto hand_on = [&flag, hand](const std::string& text) {
      hand(flag.user, flag.name, text);
    };
    Add(app, flag, hand_on);
  }
  const auto hand_on = [hand](const std::string& text) { hand(kGateway, kProbesToLose, text); };
  AddProbesToLose(app, std::function<void(const std::string&)>(hand_on));
}

}  // namespace catena::cli
