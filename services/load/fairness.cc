#include "services/load/fairness.h"

#include <algorithm>

namespace catena::load {
namespace {

enum Kind { kStream, kLongPrompt };

constexpr std::chrono::milliseconds kSlice{100};  // how long an interrupt may go unseen
constexpr int64_t kStreamPrompt = 16;
constexpr int64_t kTokensAlone = 64;  // of each stream before long prompts come
constexpr int32_t kLongOutput = 1;

class Run {
 public:
  Run(const FairnessOptions& options, LoadClient* client)
      : o_(options), mix_(options.mix), client_(*client) {}

  absl::StatusOr<Fairness> Measure() {
    for (int i = 0; i < o_.streams; ++i) StartStream();
    while (client_.tokens() < o_.streams * kTokensAlone) CATENA_RETURN_IF_ERROR(Step());
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i < o_.long_prompts; ++i) {
      const RequestSpec spec = mix_.Fixed(o_.long_prompt_tokens, kLongOutput);
      fairness_.long_prompt_tokens = static_cast<int64_t>(spec.prompt.size());
      client_.Start(spec, kLongPrompt);
      const size_t before = long_first_token_s_.size();
      while (long_first_token_s_.size() == before) CATENA_RETURN_IF_ERROR(Step());
    }
    const Clock::time_point end = Clock::now();
    stopping_ = true;
    client_.CancelAll();
    while (client_.running() > 0) CATENA_RETURN_IF_ERROR(Step());
    fairness_.streams = o_.streams;
    fairness_.long_prompts = o_.long_prompts;
    fairness_.alone = GapsBetween(Clock::time_point::min(), begin);
    fairness_.beside = GapsBetween(begin, end);
    fairness_.long_first_token_s = PercentilesOf(long_first_token_s_);
    return fairness_;
  }

 private:
  void StartStream() {
    const int64_t room = std::max<int64_t>(1, o_.mix.context_length - kStreamPrompt);
    const auto output = static_cast<int32_t>(std::min<int64_t>(room, 1 << 20));
    client_.Start(mix_.Fixed(kStreamPrompt, output), kStream);
  }

  // Takes what has finished; a stream that came to its end starts again.
  absl::Status Step() {
    if (o_.interrupted != nullptr && *o_.interrupted) return absl::CancelledError("interrupted");
    auto result = client_.Wait(Clock::now() + kSlice);
    if (!result) return absl::OkStatus();
    if (!result->status.ok() && !result->cancelled) {
      return absl::UnavailableError(
          fmt::format("a request failed: {}", result->status.error_message()));
    }
    if (result->kind == kLongPrompt) {
      long_first_token_s_.push_back(result->first_token_s.value_or(result->end_to_end_s));
    } else {
      gaps_.insert(gaps_.end(), result->gaps.begin(), result->gaps.end());
      if (!stopping_) StartStream();
    }
    return absl::OkStatus();
  }

  std::optional<Percentiles> GapsBetween(Clock::time_point begin, Clock::time_point end) const {
    std::vector<double> seconds;
    for (const TokenGap& gap : gaps_) {
      if (gap.at >= begin && gap.at < end) seconds.push_back(gap.seconds);
    }
    return PercentilesOf(std::move(seconds));
  }

  const FairnessOptions& o_;
  Mix mix_;
  LoadClient& client_;
  bool stopping_ = false;
  std::vector<TokenGap> gaps_;
  std::vector<double> long_first_token_s_;
  Fairness fairness_;
};

std::string GapRow(const char* name, const std::optional<Percentiles>& p) {
  if (!p) return "";
  return fmt::format("{:<24}{:>12}{:>12}{:>14.1f}\n", name, HumanSeconds(p->p50),
                     HumanSeconds(p->p99), Unevenness(p).value_or(0));
}

}  // namespace

absl::StatusOr<Fairness> MeasureFairness(const FairnessOptions& options, LoadClient* client) {
  return Run(options, client).Measure();
}

std::optional<double> Unevenness(const std::optional<Percentiles>& gaps) {
  if (!gaps || gaps->p50 <= 0) return std::nullopt;
  return gaps->p99 / gaps->p50;
}

std::string FairnessTable(const Fairness& f) {
  std::string t = fmt::format("{} streams, {} prompts of {} tokens\n\n", f.streams, f.long_prompts,
                              f.long_prompt_tokens);
  t += fmt::format("{:<24}{:>12}{:>12}{:>14}\n", "between tokens", "p50", "p99", "p99 / p50");
  t += GapRow("streams alone", f.alone);
  t += GapRow("beside long prompts", f.beside);
  if (f.long_first_token_s) {
    t += fmt::format("\nlong prompts: first token after {} (p50)\n",
                     HumanSeconds(f.long_first_token_s->p50));
  }
  return t;
}

nlohmann::ordered_json FairnessJson(const Fairness& f) {
  auto ratio = [](const std::optional<Percentiles>& p) {
    const auto unevenness = Unevenness(p);
    return unevenness ? nlohmann::ordered_json(*unevenness) : nlohmann::ordered_json();
  };
  return {{"streams", f.streams},
          {"long_prompts", f.long_prompts},
          {"long_prompt_tokens", f.long_prompt_tokens},
          {"alone", {{"inter_token_s", ToJson(f.alone)}, {"p99_over_p50", ratio(f.alone)}}},
          {"beside", {{"inter_token_s", ToJson(f.beside)}, {"p99_over_p50", ratio(f.beside)}}},
          {"long_first_token_s", ToJson(f.long_first_token_s)}};
}

}  // namespace catena::load
