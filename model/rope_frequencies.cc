#include "model/rope_frequencies.h"

#include <cmath>
#include <numbers>

#include "kernels/base/float16.h"

namespace catena {
namespace {

float RoundFrequency(DType dtype, float frequency) {
  switch (dtype) {
    case DType::kBF16:
      return BF16ToF32(F32ToBF16(frequency));
    case DType::kF16:
      return F16ToF32(F32ToF16Saturating(frequency));
    default:
      return frequency;
  }
}

// Radians a position, per pair.
std::vector<float> Frequencies(const ModelConfig& config, int table) {
  const RopeScaling& scaling = config.rope_scaling;
  const int half = config.rotary_dim / 2;
  std::vector<float> out(half);
  for (int i = 0; i < half; ++i) {
    const double base = std::pow(config.rope_theta, 2.0 * i / config.rotary_dim);
    double frequency = 1.0 / base;
    switch (scaling.kind) {
      case RopeScaling::Kind::kNone:
        break;
      case RopeScaling::Kind::kLinear:
        frequency /= scaling.factor;
        break;
      case RopeScaling::Kind::kLongRope:
        frequency /= (table == 0 ? scaling.short_factor : scaling.long_factor)[i];
        break;
      case RopeScaling::Kind::kLlama3: {
        // Long waves are slowed by `factor`, short ones kept, those between interpolated.
        const double context = static_cast<double>(scaling.original_max_positions);
        const double wavelength = 2.0 * std::numbers::pi / frequency;
        const double low = context / scaling.low_freq_factor;
        const double high = context / scaling.high_freq_factor;
        if (wavelength > low) {
          frequency /= scaling.factor;
        } else if (wavelength >= high) {
          const double smooth = (context / wavelength - scaling.low_freq_factor) /
                                (scaling.high_freq_factor - scaling.low_freq_factor);
          frequency = (1.0 - smooth) * frequency / scaling.factor + smooth * frequency;
        }
        break;
      }
    }
    // longrope's are made anew for each input, in float32.
    const bool cast = scaling.kind != RopeScaling::Kind::kLongRope;
    out[i] = RoundFrequency(cast ? config.rope_frequency_dtype : DType::kF32,
                            static_cast<float>(frequency));
  }
  return out;
}

}  // namespace

RotaryTables MakeRotaryTables(const ModelConfig& config, int64_t positions) {
  RotaryTables out;
  out.tables = config.rope_scaling.kind == RopeScaling::Kind::kLongRope ? 2 : 1;
  out.positions = positions;
  const int half = config.rotary_dim / 2;
  out.factors.resize(out.tables * positions * config.rotary_dim);
  const double scale = config.rope_scaling.attention_factor;
  for (int t = 0; t < out.tables; ++t) {
    const std::vector<float> frequencies = Frequencies(config, t);
    for (int64_t p = 0; p < positions; ++p) {
      float* row = out.factors.data() + (t * positions + p) * config.rotary_dim;
      for (int i = 0; i < half; ++i) {
        const double angle = static_cast<float>(p) * frequencies[i];
        row[i] = static_cast<float>(std::cos(angle) * scale);
        row[half + i] = static_cast<float>(std::sin(angle) * scale);
      }
    }
  }
  return out;
}

int ChooseRotaryTable(const ModelConfig& config, int64_t prompt_tokens, int64_t max_tokens) {
  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.kind != RopeScaling::Kind::kLongRope) return 0;
  return prompt_tokens + max_tokens > scaling.original_max_positions ? 1 : 0;
}

}  // namespace catena
