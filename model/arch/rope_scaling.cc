#include "model/arch/rope_scaling.h"

#include <cmath>

#include "model/model_limits.h"

namespace catena {
namespace {

using namespace limits;

constexpr char kRopeDivisors[] = "rope_freqs.weight";
constexpr double kBetaFast = 32.0, kBetaSlow = 1.0;  // the paper's, where the file says nothing

// The first below the second, told as the file spells them.
absl::Status MustBeBelow(const Fields& fields, const char* low, double low_value, const char* high,
                         double high_value) {
  if (low_value < high_value) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: \"{}\" ({}) must be below \"{}\" ({})",
                                                fields.source(), fields.Spell(low), low_value,
                                                fields.Spell(high), high_value));
}

absl::Status ReadLlama3(const JsonFields& fields, RopeScaling* s) {
  s->kind = RopeScaling::Kind::kLlama3;
  CATENA_ASSIGN_OR_RETURN(s->factor, fields.Double("factor", kMinRopeFactor, kMaxRopeFactor));
  CATENA_ASSIGN_OR_RETURN(s->low_freq_factor,
                          fields.Double("low_freq_factor", kMinRopeFactor, kMaxRopeFactor));
  CATENA_ASSIGN_OR_RETURN(s->high_freq_factor,
                          fields.Double("high_freq_factor", kMinRopeFactor, kMaxRopeFactor));
  CATENA_ASSIGN_OR_RETURN(s->original_max_positions,
                          fields.Int("original_max_position_embeddings", 1, kMaxContext));
  return MustBeBelow(fields, "low_freq_factor", s->low_freq_factor, "high_freq_factor",
                     s->high_freq_factor);
}

// The factor by which yarn scales attention, of which `mscale` is how much (Peng et al., 2023).
double YarnMagnitude(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// Contexts are stretched from the original one by the factor, whatever else the file says of them.
absl::Status StretchContext(const Fields& fields, ModelConfig* c) {
  const double stretched =
      static_cast<double>(c->rope_scaling.original_max_positions) * c->rope_scaling.factor;
  if (!(1.0 <= stretched && stretched <= static_cast<double>(kMaxContext))) {
    return absl::InvalidArgumentError(
        fmt::format("{}: yarn stretches {} positions by {}: not between 1 and {}", fields.source(),
                    c->rope_scaling.original_max_positions, c->rope_scaling.factor, kMaxContext));
  }
  c->context_length = static_cast<int64_t>(stretched);
  return absl::OkStatus();
}

absl::Status ReadJsonYarn(const JsonFields& fields, ModelConfig* c) {
  RopeScaling& s = c->rope_scaling;
  s.kind = RopeScaling::Kind::kYarn;
  CATENA_ASSIGN_OR_RETURN(s.original_max_positions, fields.Int("original_max_position_embeddings",
                                                               2, kMaxContext, c->context_length));
  const double grown =
      static_cast<double>(c->context_length) / static_cast<double>(s.original_max_positions);
  CATENA_ASSIGN_OR_RETURN(s.factor, fields.Double("factor", kMinRopeFactor, kMaxRopeFactor, grown));
  CATENA_ASSIGN_OR_RETURN(s.beta_fast,
                          fields.Double("beta_fast", kMinRopeFactor, kMaxRopeFactor, kBetaFast));
  CATENA_ASSIGN_OR_RETURN(s.beta_slow,
                          fields.Double("beta_slow", kMinRopeFactor, kMaxRopeFactor, kBetaSlow));
  CATENA_RETURN_IF_ERROR(MustBeBelow(fields, "beta_slow", s.beta_slow, "beta_fast", s.beta_fast));
  CATENA_ASSIGN_OR_RETURN(const auto truncate, fields.FindBool("truncate"));
  s.whole_dimensions = truncate.value_or(true);
  // DeepSeek's two: the one divided by the other, where both are there.
  CATENA_ASSIGN_OR_RETURN(const double mscale, fields.Double("mscale", 0, kMaxRopeFactor, 0));
  CATENA_ASSIGN_OR_RETURN(const double all, fields.Double("mscale_all_dim", 0, kMaxRopeFactor, 0));
  const double magnitude = mscale > 0 && all > 0
                               ? YarnMagnitude(s.factor, mscale) / YarnMagnitude(s.factor, all)
                               : YarnMagnitude(s.factor, 1.0);
  CATENA_ASSIGN_OR_RETURN(s.attention_factor, fields.Double("attention_factor", kMinRopeFactor,
                                                            kMaxRopeFactor, magnitude));
  return StretchContext(fields, c);
}

absl::Status ReadGgufYarn(const GgufFields& fields, ModelConfig* c) {
  RopeScaling& s = c->rope_scaling;
  s.kind = RopeScaling::Kind::kYarn;
  CATENA_ASSIGN_OR_RETURN(
      s.original_max_positions,
      fields.Int("rope.scaling.original_context_length", 2, kMaxContext, c->context_length));
  CATENA_ASSIGN_OR_RETURN(s.factor,
                          fields.Double("rope.scaling.factor", kMinRopeFactor, kMaxRopeFactor));
  CATENA_ASSIGN_OR_RETURN(const double scale, fields.Double("rope.scaling.attn_factor",
                                                            kMinRopeFactor, kMaxRopeFactor, 1.0));
  s.beta_fast = kBetaFast;
  s.beta_slow = kBetaSlow;
  s.attention_factor = scale * YarnMagnitude(s.factor, 1.0);
  return StretchContext(fields, c);
}

}  // namespace

absl::Status ReadJsonRotary(const JsonFields& fields, ModelConfig* c, double default_theta) {
  CATENA_ASSIGN_OR_RETURN(const JsonRope rope, ReadJsonRope(fields, default_theta));
  c->rope_theta = rope.theta;
  if (rope.partial_rotary_factor != 1.0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"partial_rotary_factor\" other than 1 is not supported for {}",
                    fields.source(), c->architecture));
  }
  CATENA_RETURN_IF_ERROR(SetRotaryDim(fields, c->head_dim, c));
  if (rope.kind == "default") return absl::OkStatus();
  if (rope.kind == "llama3") return ReadLlama3(rope.scaling, &c->rope_scaling);
  if (rope.kind == "yarn") return ReadJsonYarn(rope.scaling, c);
  if (rope.kind == "dynamic") {
    return rope.scaling.Double("factor", kMinRopeFactor, kMaxRopeFactor).status();
  }
  if (rope.kind != "linear") {
    return UnsupportedRope(fields, rope.kind, "default, linear, dynamic, llama3, yarn");
  }
  c->rope_scaling.kind = RopeScaling::Kind::kLinear;
  CATENA_ASSIGN_OR_RETURN(c->rope_scaling.factor,
                          rope.scaling.Double("factor", kMinRopeFactor, kMaxRopeFactor));
  return absl::OkStatus();
}

absl::Status ReadGgufRotary(const GgufFields& fields, ModelConfig* c) {
  if (c->rotary_dim != c->head_dim) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: \"{}\" is {}, where heads have {}: not supported for {}", fields.source(),
        fields.Spell("rope.dimension_count"), c->rotary_dim, c->head_dim, c->architecture));
  }
  RopeScaling& s = c->rope_scaling;
  CATENA_ASSIGN_OR_RETURN(const auto kind, fields.FindString("rope.scaling.type"));
  if (kind == "yarn") return ReadGgufYarn(fields, c);
  if (kind.value_or("linear") != "linear" && *kind != "none") {
    return UnsupportedRope(fields, *kind, "none, linear, yarn, rope_freqs.weight (llama3)");
  }
  CATENA_ASSIGN_OR_RETURN(const double old_factor,
                          fields.Double("rope.scale_linear", 0, kMaxRopeFactor, 0));
  CATENA_ASSIGN_OR_RETURN(const double factor,
                          fields.Double("rope.scaling.factor", 0, kMaxRopeFactor, old_factor));
  if (fields.file().Has(kRopeDivisors)) {
    // Divisors of the frequencies whatever the position: longrope with one list for both ranges.
    s.kind = RopeScaling::Kind::kLongRope;
    CATENA_ASSIGN_OR_RETURN(s.long_factor, fields.RopeFactors(kRopeDivisors, c->rotary_dim / 2));
    s.short_factor = s.long_factor;
    s.original_max_positions = c->context_length;
  } else if (factor >= kMinRopeFactor && factor != 1.0 && kind != "none") {
    s.kind = RopeScaling::Kind::kLinear;
    s.factor = factor;
  }
  return absl::OkStatus();
}

}  // namespace catena
