// SmolLM 3: Llama's blocks, every fourth of which has no rotary embedding.
//
// Sources: transformers' configuration_smollm3.py and modeling_smollm3.py; llama.cpp's converter,
// which permutes Q and K as Llama's, and its src/models/smollm3.cpp, for which every fourth block
// is a constant that no key of the file changes.
#include "model/arch/arch.h"
#include "model/arch/llama_names.h"
#include "model/arch/rope_scaling.h"
#include "model/model_limits.h"

namespace catena {
namespace {

constexpr char kName[] = "smollm3";
// transformers' SmolLM3Config.
constexpr JsonDefaults kDefaults = {.vocab_size = 128256,
                                    .hidden_size = 2048,
                                    .intermediate_size = 11008,
                                    .num_hidden_layers = 36,
                                    .num_attention_heads = 16,
                                    .num_key_value_heads = 4,
                                    .max_position_embeddings = 32768,
                                    .rms_norm_eps = 1e-6,
                                    .bos_token_id = 128000,
                                    .eos_token_id = 128001,
                                    .tie_word_embeddings = true};
constexpr double kDefaultTheta = 2000000.0;
constexpr int64_t kInterval = 4;

void LeaveOutEvery(int64_t interval, ModelConfig* c) {
  for (int layer = 0; layer < c->n_layers; ++layer) {
    c->unrotated.push_back((layer + 1) % interval == 0);
  }
}

// "no_rope_layers": of each block 1 where it is rotated, 0 where it is not; there may be more.
absl::Status ReadUnrotated(const JsonFields& fields, ModelConfig* c) {
  constexpr char kList[] = "no_rope_layers";
  const auto list = fields.object().find(kList);
  if (list == fields.object().end() || list->is_null()) {
    CATENA_ASSIGN_OR_RETURN(const int64_t interval,
                            fields.Int("no_rope_layer_interval", 1, limits::kMaxLayers, kInterval));
    LeaveOutEvery(interval, c);
    return absl::OkStatus();
  }
  const auto n = static_cast<size_t>(c->n_layers);
  bool good = list->is_array() && list->size() >= n;
  for (size_t i = 0; good && i < n; ++i) {
    const int64_t rotated = AsInt((*list)[i]).value_or(-1);
    good = rotated == 0 || rotated == 1;
    c->unrotated.push_back(rotated == 0);
  }
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: \"{}\" must hold 0 or 1 for each of {} blocks",
                                                fields.source(), fields.Spell(kList), n));
}

absl::StatusOr<ModelConfig> FromJson(const nlohmann::json& config, const std::string& source) {
  const JsonFields fields(config, source);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadJsonDecoder(fields, kName, kDefaults));
  CATENA_RETURN_IF_ERROR(ReadJsonRotary(fields, &c, kDefaultTheta));
  CATENA_RETURN_IF_ERROR(ReadUnrotated(fields, &c));
  CATENA_ASSIGN_OR_RETURN(const auto window, fields.FindBool("use_sliding_window"));
  if (window.value_or(false)) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: a window in some blocks only (\"use_sliding_window\") is not supported", source));
  }
  return c;
}

absl::StatusOr<ModelConfig> FromGguf(const GgufFile& file) {
  const GgufFields fields(file, kName);
  CATENA_ASSIGN_OR_RETURN(ModelConfig c, ReadGgufDecoder(fields, kName));
  CATENA_RETURN_IF_ERROR(ReadGgufRotary(fields, &c));
  LeaveOutEvery(kInterval, &c);
  return c;
}

}  // namespace

extern const Architecture kSmolLm3Architecture;
constinit const Architecture kSmolLm3Architecture = {
    .name = kName,
    .hf_class = "SmolLM3ForCausalLM",
    .hf = kLlamaHfNames,
    .gguf = kLlamaGgufNames,
    .from_json = &FromJson,
    .from_gguf = &FromGguf,
    .gguf_end_tokens = {},
};

}  // namespace catena
