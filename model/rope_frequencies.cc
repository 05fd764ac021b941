#include "model/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace catena {
namespace {

// theta^(2i / rotary_dim).
float Power(const ModelConfig& config, int i) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.rotary_dim);
  return static_cast<float>(std::pow(double{static_cast<float>(config.rope_theta)}, exponent));
}

// llama3: long waves are slowed by `factor`, short ones kept, those between interpolated.
float ScaleByWavelength(const RopeScaling& scaling, float frequency) {
  const auto context = static_cast<double>(scaling.original_max_positions);
  const auto factor = static_cast<float>(scaling.factor);
  const auto low = static_cast<float>(scaling.low_freq_factor);
  const auto range = static_cast<float>(scaling.high_freq_factor - scaling.low_freq_factor);
  // A number divided by a tensor is its reciprocal times the number.
  const float wavelength = 1.0f / frequency * static_cast<float>(2.0 * std::numbers::pi);
  if (wavelength > static_cast<float>(context / scaling.low_freq_factor)) return frequency / factor;
  if (wavelength < static_cast<float>(context / scaling.high_freq_factor)) return frequency;
  const float smooth = (1.0f / wavelength * static_cast<float>(context) - low) / range;
  return (1.0f - smooth) * frequency / factor + smooth * frequency;
}

// The dimension whose wave turns so many times in the original context.
double YarnDimension(const ModelConfig& config, double turns) {
  const auto context = static_cast<double>(config.rope_scaling.original_max_positions);
  return config.rotary_dim * std::log(context / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(config.rope_theta));
}

float ScaleByTurns(const ModelConfig& config, float power, int i) {
  const RopeScaling& scaling = config.rope_scaling;
  double first = YarnDimension(config, scaling.beta_fast);
  double last = YarnDimension(config, scaling.beta_slow);
  if (scaling.whole_dimensions) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, config.rotary_dim - 1.0);
  if (first == last) last += 0.001;  // as the reference does, so that nothing is divided by zero
  const float ramp = std::clamp(
      (static_cast<float>(i) - static_cast<float>(first)) / static_cast<float>(last - first), 0.0f,
      1.0f);
  const float kept = 1.0f - ramp;
  return 1.0f / (static_cast<float>(scaling.factor) * power) * (1.0f - kept) + 1.0f / power * kept;
}

float Frequency(const ModelConfig& config, int table, int i) {
  const RopeScaling& scaling = config.rope_scaling;
  const float power = Power(config, i);
  switch (scaling.kind) {
    case RopeScaling::Kind::kNone:
      break;
    case RopeScaling::Kind::kLinear:
      return 1.0f / power / static_cast<float>(scaling.factor);
    case RopeScaling::Kind::kLlama3:
      return ScaleByWavelength(scaling, 1.0f / power);
    case RopeScaling::Kind::kYarn:
      return ScaleByTurns(config, power, i);
    case RopeScaling::Kind::kLongRope:
      return 1.0f / ((table == 0 ? scaling.short_factor : scaling.long_factor)[i] * power);
  }
  return 1.0f / power;
}

}  // namespace

RopeFrequencies MakeRopeFrequencies(const ModelConfig& config) {
  RopeFrequencies out;
  out.tables = RotarySwitch(config) > 0 ? 2 : 1;
  out.scale = static_cast<float>(config.rope_scaling.attention_factor);
  for (int table = 0; table < out.tables; ++table) {
    for (int i = 0; i < config.rotary_dim / 2; ++i) {
      out.values.push_back(Frequency(config, table, i));
    }
  }
  return out;
}

RopeFrequencies MakeLocalRopeFrequencies(const ModelConfig& config) {
  ModelConfig plain = config;
  plain.rope_theta = *config.local_rope_theta;
  plain.rope_scaling = {};
  RopeFrequencies out = MakeRopeFrequencies(plain);
  if (RotarySwitch(config) > 0) {
    const std::vector<float> again = out.values;
    out.values.insert(out.values.end(), again.begin(), again.end());
    out.tables = 2;
  }
  return out;
}

int64_t RotarySwitch(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const bool switches = scaling.kind == RopeScaling::Kind::kLongRope &&
                        scaling.original_max_positions < config.context_length;
  return switches ? scaling.original_max_positions : 0;
}

int ChooseRotaryTable(const ModelConfig& config, int64_t positions) {
  const int64_t last_of_short = RotarySwitch(config);
  return last_of_short > 0 && positions > last_of_short ? 1 : 0;
}

}  // namespace catena
