#include "model/arch/gemma.h"

#include <algorithm>
#include <cmath>

#include "model/model_limits.h"

namespace catena {
namespace {

using namespace limits;

constexpr int64_t kDefaultWindow = 4096;

// null and 0 say that there is none, which is not the same as no word.
absl::StatusOr<double> ReadSoftcap(const JsonFields& fields, const char* key, double absent) {
  if (const auto found = fields.object().find(key); found != fields.object().end()) {
    if (*found == 0) return 0.0;
    absent = 0;
  }
  return fields.Double(key, kMinMultiplier, kMaxMultiplier, absent);
}

// The last of each `period` blocks is global; no list where none is.
void SetPeriod(int64_t period, ModelConfig* c) {
  if (period > c->n_layers) return;
  for (int layer = 0; layer < c->n_layers; ++layer) {
    c->global.push_back((layer + 1) % period == 0);
  }
}

// "layer_types": of each block how it attends.
absl::Status ReadLayerTypes(const JsonFields& fields, const nlohmann::json& list, ModelConfig* c) {
  const auto n = static_cast<size_t>(c->n_layers);
  bool good = list.is_array() && list.size() == n;
  for (size_t i = 0; good && i < n; ++i) {
    const bool global = list[i] == "full_attention";
    good = global || list[i] == "sliding_attention";
    c->global.push_back(global);
  }
  if (!good) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: \"layer_types\" must hold \"sliding_attention\" or \"full_attention\" for each of {} "
        "blocks",
        fields.source(), n));
  }
  if (std::find(c->global.begin(), c->global.end(), true) == c->global.end()) c->global.clear();
  return absl::OkStatus();
}

absl::Status ReadGlobalBlocks(const JsonFields& fields, int64_t period, ModelConfig* c) {
  const auto list = fields.object().find("layer_types");
  if (list != fields.object().end() && !list->is_null()) return ReadLayerTypes(fields, *list, c);
  CATENA_ASSIGN_OR_RETURN(period, fields.Int("sliding_window_pattern", 1, kMaxLayers, period));
  SetPeriod(period, c);
  return absl::OkStatus();
}

}  // namespace

void SetGemma(ModelConfig* config) {
  config->gate = Gate::kGeluTanh;
  config->post_norms = true;
  config->embedding_multiplier = std::sqrt(static_cast<double>(config->hidden_size));
}

absl::Status ReadJsonGemma(const JsonFields& fields, const GemmaDefaults& defaults,
                           ModelConfig* c) {
  SetGemma(c);
  CATENA_ASSIGN_OR_RETURN(const double heads, fields.Double("query_pre_attn_scalar", kMinMultiplier,
                                                            kMaxMultiplier, 256));
  c->attention_scale = 1.0 / std::sqrt(heads);
  if (defaults.attention_softcap != 0) {
    CATENA_ASSIGN_OR_RETURN(c->attention_softcap, ReadSoftcap(fields, "attn_logit_softcapping",
                                                              defaults.attention_softcap));
  }
  CATENA_ASSIGN_OR_RETURN(c->logits_softcap,
                          ReadSoftcap(fields, "final_logit_softcapping", defaults.logits_softcap));
  CATENA_ASSIGN_OR_RETURN(const auto both_ways, fields.FindBool("use_bidirectional_attention"));
  if (both_ways.value_or(false)) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: \"use_bidirectional_attention\" is not supported: an encoder generates no text",
        fields.source()));
  }
  CATENA_RETURN_IF_ERROR(ReadGlobalBlocks(fields, defaults.period, c));
  const int64_t absent = fields.object().contains("sliding_window") ? 0 : kDefaultWindow;
  CATENA_ASSIGN_OR_RETURN(const int64_t window,
                          fields.Int("sliding_window", 1, kMaxContext, absent));
  SetWindow(window, c);
  return absl::OkStatus();
}

absl::Status ReadGgufGemma(const GgufFields& fields, const GemmaDefaults& defaults,
                           int64_t default_window, ModelConfig* c) {
  SetGemma(c);
  const bool by_heads = c->n_layers == defaults.global_scale_layers;
  const int64_t scalar = by_heads ? c->hidden_size / c->n_heads : c->head_dim;
  c->attention_scale = 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(scalar, 1)));
  if (defaults.attention_softcap != 0) {
    CATENA_ASSIGN_OR_RETURN(c->attention_softcap,
                            fields.Double("attn_logit_softcapping", kMinMultiplier, kMaxMultiplier,
                                          defaults.attention_softcap));
  }
  CATENA_ASSIGN_OR_RETURN(c->logits_softcap,
                          fields.Double("final_logit_softcapping", kMinMultiplier, kMaxMultiplier,
                                        defaults.logits_softcap));
  CATENA_ASSIGN_OR_RETURN(const int64_t window,
                          fields.Int("attention.sliding_window", 0, kMaxContext, default_window));
  CATENA_ASSIGN_OR_RETURN(const int64_t period, fields.Int("attention.sliding_window_pattern", 1,
                                                           kMaxLayers, defaults.period));
  SetPeriod(window > 0 ? period : 1, c);
  SetWindow(window, c);
  return absl::OkStatus();
}

}  // namespace catena
