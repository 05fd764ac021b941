#include "model/quantise/gguf_facts.h"

#include <algorithm>
#include <cmath>

#include "model/arch/arch.h"
#include "model/rope_frequencies.h"

namespace catena {
namespace {

using Kind = RopeScaling::Kind;

float AsFloat(double value) { return static_cast<float>(value); }

// A vector that no file holds.
PlannedTensor MadeTensor(const std::string& name, std::vector<float> values) {
  const auto owned = std::make_shared<const std::vector<float>>(std::move(values));
  const auto cols = static_cast<int64_t>(owned->size());
  PlannedTensor t;
  t.info = {name, DType::kF32, 1, cols};
  t.made = true;
  t.source = {.name = name,
              .dtype = DType::kF32,
              .rows = 1,
              .cols = cols,
              .bytes = {reinterpret_cast<const uint8_t*>(owned->data()), 4 * owned->size()},
              .owner = owned};
  return t;
}

// By what llama3's scaling divides each frequency.
std::vector<float> RopeDivisors(const ModelConfig& config) {
  ModelConfig plain = config;
  plain.rope_scaling = {};
  std::vector<float> divisors = MakeRopeFrequencies(plain).values;
  const std::vector<float> scaled = MakeRopeFrequencies(config).values;
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] /= scaled[i];
  return divisors;
}

class Describer {
 public:
  Describer(const ModelConfig& config, GgufFacts* out)
      : c_(config),
        out_(*out),
        architecture_(ArchitectureOf(config).gguf_name.empty() ? config.architecture
                                                               : ArchitectureOf(config).gguf_name) {
  }

  void Describe(const std::string& name) {
    out_.metadata.SetString("general.architecture", architecture_);
    out_.metadata.SetString("general.type", "model");
    if (!name.empty()) out_.metadata.SetString("general.name", name);
    DescribeSizes();
    DescribeRotary();
    DescribeLocalBlocks();
    if (c_.attention_softcap != 0) SetFloat("attn_logit_softcapping", c_.attention_softcap);
    if (c_.logits_softcap != 0) SetFloat("final_logit_softcapping", c_.logits_softcap);
    if (architecture_ == "granite") {
      SetFloat("attention.scale", *c_.attention_scale);
      SetFloat("embedding_scale", c_.embedding_multiplier);
      SetFloat("residual_scale", c_.residual_multiplier);
      SetFloat("logit_scale", c_.logits_divisor);
    }
  }

 private:
  std::string Key(const char* key) const { return fmt::format("{}.{}", architecture_, key); }
  void SetInt(const char* key, int64_t value) {
    out_.metadata.SetUint32(Key(key), static_cast<uint32_t>(value));  // all are below 2^24
  }
  void SetFloat(const char* key, double value) {
    out_.metadata.SetFloat32(Key(key), AsFloat(value));
  }

  void DescribeSizes() {
    SetInt("vocab_size", c_.vocab_size);
    SetInt("context_length", c_.context_length);
    SetInt("embedding_length", c_.hidden_size);
    SetInt("block_count", c_.n_layers);
    SetInt("feed_forward_length", c_.intermediate_size);
    SetInt("attention.head_count", c_.n_heads);
    SetInt("attention.head_count_kv", c_.n_kv_heads);
    SetInt("attention.key_length", c_.head_dim);
    SetInt("attention.value_length", c_.head_dim);
    SetFloat("attention.layer_norm_rms_epsilon", c_.rms_norm_eps);
  }

  void DescribeLocalBlocks() {
    // Phi 3's files without this key are of two old models, which have a window.
    if (c_.sliding_window > 0 || architecture_ == "phi3") {
      SetInt("attention.sliding_window", c_.sliding_window);
    } else if (HasOwnLocalBlocks()) {  // which the key says as well
      SetInt("attention.sliding_window", c_.context_length);
    }
    if (c_.local_rope_theta.has_value()) SetFloat("rope.freq_base_swa", *c_.local_rope_theta);
  }

  // Local blocks that are told from others, whether or not their window ever fills.
  bool HasOwnLocalBlocks() const {
    if (c_.global.empty()) return c_.local_rope_theta.has_value();
    return std::find(c_.global.begin(), c_.global.end(), false) != c_.global.end();
  }

  void SetScaling(const char* type) {
    out_.metadata.SetString(Key("rope.scaling.type"), type);
    SetFloat("rope.scaling.factor", c_.rope_scaling.factor);
  }

  void DescribeRotary() {
    const RopeScaling& s = c_.rope_scaling;
    SetInt("rope.dimension_count", c_.rotary_dim);
    SetFloat("rope.freq_base", c_.rope_theta);
    switch (s.kind) {
      case Kind::kNone:
        break;
      case Kind::kLinear:
        SetScaling("linear");
        break;
      case Kind::kLlama3:
        out_.tensors.push_back(MadeTensor("rope_freqs.weight", RopeDivisors(c_)));
        break;
      case Kind::kYarn:
        SetScaling("yarn");
        SetInt("rope.scaling.original_context_length", s.original_max_positions);
        // Besides what the factor makes of it (rope_scaling.cc).
        SetFloat("rope.scaling.attn_factor",
                 s.attention_factor / (s.factor <= 1 ? 1.0 : 0.1 * std::log(s.factor) + 1.0));
        break;
      case Kind::kLongRope:
        SetInt("rope.scaling.original_context_length", s.original_max_positions);
        SetFloat("rope.scaling.attn_factor", s.attention_factor);
        out_.tensors.push_back(MadeTensor("rope_factors_long.weight", s.long_factor));
        out_.tensors.push_back(MadeTensor("rope_factors_short.weight", s.short_factor));
        break;
    }
  }

  const ModelConfig& c_;
  GgufFacts& out_;
  const std::string architecture_;
};

// The settings that GGUF has keys for.
void DescribeSampling(const GenerationConfig& g, GgufMetadata* m) {
  if (!g.do_sample) return;  // a temperature says that there is sampling
  const auto set = [&](const char* key, const std::optional<double>& value) {
    if (value) m->SetFloat32(fmt::format("general.sampling.{}", key), AsFloat(*value));
  };
  set("temp", g.temperature.value_or(1.0));
  set("top_p", g.top_p);
  set("min_p", g.min_p);
  set("typical_p", g.typical_p);
  set("penalty_repeat", g.repetition_penalty);
  if (g.top_k) m->SetInt32("general.sampling.top_k", static_cast<int32_t>(*g.top_k));
}

bool Near(float a, float b) { return std::fabs(a - b) <= 1e-6f * std::fabs(a); }

bool SameRotary(const ModelConfig& a, const ModelConfig& b) {
  const RopeFrequencies x = MakeRopeFrequencies(a), y = MakeRopeFrequencies(b);
  return a.rotary_dim == b.rotary_dim && RotarySwitch(a) == RotarySwitch(b) &&
         Near(x.scale, y.scale) &&
         std::equal(x.values.begin(), x.values.end(), y.values.begin(), y.values.end(), Near);
}

bool SameRotatedBlocks(const ModelConfig& a, const ModelConfig& b) {
  for (int layer = 0; layer < a.n_layers; ++layer) {
    if (a.rotates(layer) != b.rotates(layer)) return false;
  }
  return true;
}

bool SameLocalBlocks(const ModelConfig& a, const ModelConfig& b) {
  const auto theta = [](const ModelConfig& c) { return AsFloat(c.local_rope_theta.value_or(0)); };
  for (int layer = 0; layer < a.n_layers; ++layer) {
    if (a.local(layer) != b.local(layer)) return false;
  }
  return a.sliding_window == b.sliding_window && theta(a) == theta(b);
}

bool SameSoftcaps(const ModelConfig& a, const ModelConfig& b) {
  return AsFloat(a.attention_softcap) == AsFloat(b.attention_softcap) &&
         AsFloat(a.logits_softcap) == AsFloat(b.logits_softcap);
}

bool SameSizes(const ModelConfig& a, const ModelConfig& b) {
  const auto sizes = [](const ModelConfig& c) {
    return std::tuple(c.vocab_size, c.hidden_size, c.intermediate_size, c.n_layers, c.n_heads,
                      c.n_kv_heads, c.head_dim, c.qkv_bias, c.qk_norm, c.tied_embeddings);
  };
  return sizes(a) == sizes(b);
}

bool SameMultipliers(const ModelConfig& a, const ModelConfig& b) {
  const auto multipliers = [](const ModelConfig& c) {
    return std::tuple(AsFloat(c.embedding_multiplier), AsFloat(c.residual_multiplier),
                      AsFloat(c.logits_divisor), c.attention_scale.has_value(),
                      AsFloat(c.attention_scale.value_or(0)));
  };
  return multipliers(a) == multipliers(b);
}

}  // namespace

GgufFacts DescribeModel(const ModelConfig& config, const GenerationConfig& generation,
                        const std::string& name) {
  GgufFacts facts;
  Describer(config, &facts).Describe(name);
  DescribeSampling(generation, &facts.metadata);
  return facts;
}

std::string FirstDifference(const ModelConfig& config, const ModelConfig& read) {
  if (!SameSizes(config, read)) return "its sizes";
  if (!SameLocalBlocks(config, read)) return "its sliding window";
  if (!SameSoftcaps(config, read)) return "its soft caps";
  if (config.context_length != read.context_length) return "its context length";
  if (!SameRotatedBlocks(config, read)) return "which blocks have a rotary embedding";
  if (!SameRotary(config, read)) return "its rotary embedding";
  if (!SameMultipliers(config, read)) return "its multipliers";
  if (AsFloat(config.rms_norm_eps) != AsFloat(read.rms_norm_eps)) return "its norms' epsilon";
  return "";
}

}  // namespace catena
