#include "model/arch/decoder_config.h"

#include <algorithm>
#include <cmath>

#include "model/model_limits.h"

namespace catena {
namespace {

using nlohmann::json;

absl::Status Unsupported(const Fields& fields, std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", fields.source(), what));
}

// The fields that decide a block's shape, by either file's keys.
struct SizeKeys {
  const char *hidden, *intermediate, *layers, *heads, *kv_heads, *head_dim, *context, *norm_eps;
};
constexpr SizeKeys kJsonKeys = {
    "hidden_size",         "intermediate_size", "num_hidden_layers",       "num_attention_heads",
    "num_key_value_heads", "head_dim",          "max_position_embeddings", "rms_norm_eps"};
constexpr SizeKeys kGgufKeys = {"embedding_length",
                                "feed_forward_length",
                                "block_count",
                                "attention.head_count",
                                "attention.head_count_kv",
                                "attention.key_length",
                                "context_length",
                                "attention.layer_norm_rms_epsilon"};

// `defaults` null: a missing size is an error.
absl::Status ReadSizes(const Fields& fields, const SizeKeys& keys, const JsonDefaults* defaults,
                       ModelConfig* c) {
  using namespace limits;
  const auto read = [&](const char* key, int64_t max, int64_t JsonDefaults::*absent) {
    return fields.Int(
        key, 1, max,
        defaults == nullptr ? std::nullopt : std::optional<int64_t>(defaults->*absent));
  };
  using D = JsonDefaults;
  CATENA_ASSIGN_OR_RETURN(c->hidden_size, read(keys.hidden, kMaxHidden, &D::hidden_size));
  CATENA_ASSIGN_OR_RETURN(c->intermediate_size,
                          read(keys.intermediate, kMaxIntermediate, &D::intermediate_size));
  CATENA_ASSIGN_OR_RETURN(c->n_layers, read(keys.layers, kMaxLayers, &D::num_hidden_layers));
  CATENA_ASSIGN_OR_RETURN(c->n_heads, read(keys.heads, kMaxHeads, &D::num_attention_heads));
  const int64_t kv_heads = defaults == nullptr ? 0 : defaults->num_key_value_heads;
  CATENA_ASSIGN_OR_RETURN(
      c->n_kv_heads, fields.Int(keys.kv_heads, 1, kMaxHeads, kv_heads > 0 ? kv_heads : c->n_heads));
  CATENA_ASSIGN_OR_RETURN(c->head_dim, fields.Int(keys.head_dim, 2, kMaxHeadDim,
                                                  defaults == nullptr ? 0 : defaults->head_dim));
  CATENA_ASSIGN_OR_RETURN(c->context_length,
                          read(keys.context, kMaxContext, &D::max_position_embeddings));
  CATENA_ASSIGN_OR_RETURN(
      c->rms_norm_eps,
      fields.Double(
          keys.norm_eps, kMinNormEps, kMaxNormEps,
          defaults == nullptr ? std::nullopt : std::optional<double>(defaults->rms_norm_eps)));
  if (c->n_heads % c->n_kv_heads != 0) {
    return Unsupported(fields, fmt::format("\"{}\" ({}) is not a multiple of \"{}\" ({})",
                                           fields.Spell(keys.heads), c->n_heads,
                                           fields.Spell(keys.kv_heads), c->n_kv_heads));
  }
  if (c->head_dim != 0) return absl::OkStatus();
  if (c->hidden_size % c->n_heads != 0 || c->hidden_size / c->n_heads > kMaxHeadDim) {
    return Unsupported(fields, fmt::format("\"{}\" ({}) does not divide into \"{}\" ({})",
                                           fields.Spell(keys.hidden), c->hidden_size,
                                           fields.Spell(keys.heads), c->n_heads));
  }
  c->head_dim = static_cast<int>(c->hidden_size / c->n_heads);
  return absl::OkStatus();
}

absl::Status RefuseJsonVariants(const JsonFields& fields, const JsonDefaults& defaults) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    CATENA_ASSIGN_OR_RETURN(const auto bias, fields.FindBool(key));
    if (bias.value_or(false))
      return Unsupported(fields, fmt::format("\"{}\" is not supported", key));
  }
  CATENA_ASSIGN_OR_RETURN(const auto found, fields.FindString(defaults.activation_key));
  const std::string act = found.value_or(std::string(defaults.activation));
  if ((act == "swish" ? "silu" : act) != defaults.activation) {
    return Unsupported(
        fields, fmt::format("\"{}\" {} is not supported, only \"{}\"", defaults.activation_key,
                            Quoted(act), defaults.activation));
  }
  return absl::OkStatus();
}

absl::Status RefuseGgufVariants(const GgufFields& fields, const ModelConfig& config) {
  CATENA_ASSIGN_OR_RETURN(const auto experts, fields.FindInt("expert_count"));
  if (experts.value_or(0) > 0) return Unsupported(fields, "mixtures of experts are not supported");
  CATENA_ASSIGN_OR_RETURN(const auto value_dim, fields.FindInt("attention.value_length"));
  if (value_dim.value_or(config.head_dim) != config.head_dim) {
    return Unsupported(
        fields, fmt::format("\"{}\" is {}, where keys have {}: not supported",
                            fields.Spell("attention.value_length"), *value_dim, config.head_dim));
  }
  return absl::OkStatus();
}

// The vocabulary's size: as the file says, or the number of tokens, or the embedding's rows.
absl::Status ReadGgufVocabSize(const GgufFields& fields, ModelConfig* config) {
  CATENA_ASSIGN_OR_RETURN(config->vocab_size, fields.Int("vocab_size", 1, limits::kMaxVocab, 0));
  if (config->vocab_size != 0) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(const TensorView embedding, fields.file().Find("token_embd.weight"));
  if (embedding.rows > limits::kMaxVocab) {
    return Unsupported(fields, fmt::format("tensor \"token_embd.weight\" has {} rows, more than {}",
                                           embedding.rows, limits::kMaxVocab));
  }
  config->vocab_size = embedding.rows;
  return absl::OkStatus();
}

std::string OutOfRange(std::string_view source, std::string_view key, std::string_view id,
                       int64_t vocab_size) {
  return fmt::format(
      "{}: \"{}\" names the token {}, which a vocabulary of {} does not have; it is "
      "left out",
      source, key, id.substr(0, 40), vocab_size);
}

// BOS and EOS, which SentencePiece numbers alike wherever the file does not say (llama.cpp's
// llama-vocab.cpp).
absl::Status ReadGgufIds(const GgufFile& file, ModelConfig* c) {
  CATENA_ASSIGN_OR_RETURN(const auto model, file.GetString("tokenizer.ggml.model"));
  const auto read = [&](const char* key, int32_t sentencepiece) -> absl::StatusOr<int32_t> {
    if (file.HasKey(key) || model != "llama" || sentencepiece >= c->vocab_size) {
      return ReadGgufTokenId(file, key, c->vocab_size, &c->warnings);
    }
    return sentencepiece;
  };
  CATENA_ASSIGN_OR_RETURN(c->bos_id, read("tokenizer.ggml.bos_token_id", 1));
  CATENA_ASSIGN_OR_RETURN(const int32_t eos, read("tokenizer.ggml.eos_token_id", 2));
  if (eos >= 0) c->eos_ids.push_back(eos);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int32_t> ReadGgufTokenId(const GgufFile& file, const char* key, int64_t vocab_size,
                                        std::vector<std::string>* warnings) {
  CATENA_ASSIGN_OR_RETURN(const auto id, file.GetInt(key));
  if (!id.has_value() || *id < 0 || *id == UINT32_MAX) return -1;
  if (*id < vocab_size) return static_cast<int32_t>(*id);
  warnings->push_back(OutOfRange(file.source(), key, fmt::format("{}", *id), vocab_size));
  return -1;
}

absl::StatusOr<std::vector<int32_t>> ReadTokenIds(const JsonFields& fields, const char* key,
                                                  int64_t vocab_size,
                                                  std::vector<std::string>* warnings) {
  std::vector<int32_t> ids;
  const auto it = fields.object().find(key);
  if (it == fields.object().end() || it->is_null()) return ids;
  const json list = it->is_array() ? *it : json::array({*it});
  if (list.size() > limits::kMaxEosIds) {
    return Unsupported(fields,
                       fmt::format("\"{}\" lists more than {} ids", key, limits::kMaxEosIds));
  }
  for (const json& id : list) {
    const std::optional<int64_t> value = AsInt(id);
    if (!value && !id.is_number_unsigned()) {
      return absl::DataLossError(fmt::format("{}: \"{}\" must be a token id or a list of them",
                                             fields.source(), fields.Spell(key)));
    }
    if (value.value_or(INT64_MAX) >= vocab_size) {
      warnings->push_back(OutOfRange(fields.source(), fields.Spell(key), id.dump(), vocab_size));
    } else if (*value >= 0) {
      ids.push_back(static_cast<int32_t>(*value));
    }
  }
  return ids;
}

absl::StatusOr<ModelConfig> ReadJsonDecoder(const JsonFields& fields, std::string_view name,
                                            const JsonDefaults& defaults) {
  CATENA_RETURN_IF_ERROR(RefuseJsonVariants(fields, defaults));
  ModelConfig c;
  c.architecture = name;
  CATENA_RETURN_IF_ERROR(ReadSizes(fields, kJsonKeys, &defaults, &c));
  CATENA_ASSIGN_OR_RETURN(c.vocab_size,
                          fields.Int("vocab_size", 1, limits::kMaxVocab, defaults.vocab_size));
  CATENA_ASSIGN_OR_RETURN(const auto tied, fields.FindBool("tie_word_embeddings"));
  c.tied_embeddings = tied.value_or(defaults.tie_word_embeddings);
  // null says that there is none, which is not the same as no word.
  const auto ids = [&](const char* key, int32_t absent) -> absl::StatusOr<std::vector<int32_t>> {
    if (fields.object().contains(key)) {
      return ReadTokenIds(fields, key, c.vocab_size, &c.warnings);
    }
    if (absent < 0 || absent >= c.vocab_size) return std::vector<int32_t>();
    return std::vector<int32_t>{absent};
  };
  CATENA_ASSIGN_OR_RETURN(const auto bos, ids("bos_token_id", defaults.bos_token_id));
  if (!bos.empty()) c.bos_id = bos[0];
  CATENA_ASSIGN_OR_RETURN(c.eos_ids, ids("eos_token_id", defaults.eos_token_id));
  return c;
}

absl::StatusOr<ModelConfig> ReadGgufDecoder(const GgufFields& fields, std::string_view name) {
  ModelConfig c;
  c.architecture = name;
  CATENA_RETURN_IF_ERROR(ReadSizes(fields, kGgufKeys, nullptr, &c));
  CATENA_RETURN_IF_ERROR(RefuseGgufVariants(fields, c));
  CATENA_RETURN_IF_ERROR(ReadGgufVocabSize(fields, &c));
  CATENA_ASSIGN_OR_RETURN(c.rope_theta,
                          fields.Double("rope.freq_base", 1.0, limits::kMaxRopeTheta, 10000.0));
  CATENA_ASSIGN_OR_RETURN(const int64_t rotary_dim,
                          fields.Int("rope.dimension_count", 1, limits::kMaxHeadDim, c.head_dim));
  CATENA_RETURN_IF_ERROR(SetRotaryDim(fields, rotary_dim, &c));
  c.tied_embeddings = !fields.file().Has("output.weight");
  CATENA_RETURN_IF_ERROR(ReadGgufIds(fields.file(), &c));
  return c;
}

absl::StatusOr<JsonRope> ReadJsonRope(const JsonFields& fields, double default_theta) {
  static const json kNone = json::object();
  const auto object_at = [&](const char* key) -> const json* {
    const auto it = fields.object().find(key);
    return it == fields.object().end() || it->is_null() ? nullptr : &*it;
  };
  const char* key = object_at("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  const json* scaling = object_at(key);
  if (scaling == nullptr) scaling = &kNone;
  if (!scaling->is_object())
    return Unsupported(fields, fmt::format("\"{}\" must be an object", key));

  JsonRope rope{.kind = "default", .scaling = {*scaling, fields.source(), fmt::format("{}.", key)}};
  CATENA_ASSIGN_OR_RETURN(auto kind, rope.scaling.FindString("rope_type"));
  if (!kind.has_value()) {
    CATENA_ASSIGN_OR_RETURN(kind, rope.scaling.FindString("type"));
  }
  if (kind.has_value()) rope.kind = *kind;
  if (!kind.has_value() && std::string_view(key) == "rope_scaling" && !scaling->empty()) {
    return Unsupported(fields, "\"rope_scaling\" has no \"rope_type\"");
  }
  CATENA_ASSIGN_OR_RETURN(rope.theta,
                          fields.Double("rope_theta", 1, limits::kMaxRopeTheta, default_theta));
  CATENA_ASSIGN_OR_RETURN(rope.theta,
                          rope.scaling.Double("rope_theta", 1, limits::kMaxRopeTheta, rope.theta));
  CATENA_ASSIGN_OR_RETURN(rope.partial_rotary_factor,
                          fields.Double("partial_rotary_factor", 0, 1, 1.0));
  CATENA_ASSIGN_OR_RETURN(
      rope.partial_rotary_factor,
      rope.scaling.Double("partial_rotary_factor", 0, 1, rope.partial_rotary_factor));
  return rope;
}

absl::Status UnsupportedRope(const Fields& fields, std::string_view kind, std::string_view known) {
  return Unsupported(fields, fmt::format("rotary scaling {} is not supported; known are: {}",
                                         Quoted(kind), known));
}

absl::Status SetRotaryDim(const Fields& fields, int64_t rotary_dim, ModelConfig* config) {
  if (rotary_dim < 2 || rotary_dim % 2 != 0 || rotary_dim > config->head_dim) {
    return Unsupported(fields, fmt::format("{} rotary dimensions of a head of {}: must be even and "
                                           "between 2 and the head's",
                                           rotary_dim, config->head_dim));
  }
  config->rotary_dim = static_cast<int>(rotary_dim);
  return absl::OkStatus();
}

void SetWindow(int64_t window, ModelConfig* config) {
  config->sliding_window = window < config->context_length ? window : 0;
}

double LongRopeAttentionFactor(double factor, int64_t original_max_positions) {
  if (factor <= 1.0) return 1.0;
  // Rounded to float32, as the reference multiplies, so that libm's last bits do not matter.
  return static_cast<float>(
      std::sqrt(1.0 + std::log(factor) / std::log(static_cast<double>(original_max_positions))));
}

}  // namespace catena
