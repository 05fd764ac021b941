#include "services/load/mix.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace catena::load {
namespace {

constexpr double kLeastDeadlineS = 0.005, kMostDeadlineS = 5;
constexpr int64_t kLeastPrompt = 4, kLeastOutput = 2;

std::chrono::nanoseconds Seconds(double s) {
  return std::chrono::nanoseconds(std::llround(s * 1e9));
}

}  // namespace

// SplitMix64: https://prng.di.unimi.it/splitmix64.c
uint64_t Mix::Bits() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

double Mix::Uniform() { return static_cast<double>((Bits() >> 11) + 1) * 0x1p-53; }

// Box and Muller.
double Mix::Normal() {
  const double radius = std::sqrt(-2 * std::log(Uniform()));
  return radius * std::cos(2 * std::numbers::pi * Uniform());
}

int64_t Mix::Length(double median, double spread, int64_t most) {
  return std::min<int64_t>(most, std::llround(median * std::exp(spread * Normal())));
}

RequestSpec Mix::Next() {
  const MixOptions& o = options_;
  const int64_t output =
      std::max(kLeastOutput, Length(o.output_median, o.output_spread, o.max_output));
  const int64_t prompt =
      std::max(kLeastPrompt, Length(o.prompt_median, o.prompt_spread, o.max_prompt));
  RequestSpec spec = Fixed(prompt, static_cast<int32_t>(std::min(output, o.context_length - 1)));
  const double fate = Uniform();
  if (fate <= o.cancel_share) {
    spec.cancel_after = static_cast<int32_t>(Uniform() * spec.max_tokens);
  } else if (fate <= o.cancel_share + o.deadline_share) {
    const double decades = std::log(kMostDeadlineS / kLeastDeadlineS);
    spec.deadline = Seconds(kLeastDeadlineS * std::exp(Uniform() * decades));
  }
  return spec;
}

RequestSpec Mix::Fixed(int64_t prompt_tokens, int32_t max_tokens) {
  const int64_t room = std::max<int64_t>(1, options_.context_length - max_tokens);
  RequestSpec spec;
  spec.max_tokens = max_tokens;
  spec.prompt.resize(static_cast<size_t>(std::min(prompt_tokens, room)));
  for (int32_t& id : spec.prompt) {
    id = static_cast<int32_t>(Bits() % static_cast<uint64_t>(options_.vocab_size));
  }
  return spec;
}

std::chrono::nanoseconds Mix::Gap(double rate) { return Seconds(-std::log(Uniform()) / rate); }

}  // namespace catena::load
