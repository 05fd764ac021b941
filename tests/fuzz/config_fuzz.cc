// Any bytes as a config.json: what is accepted must keep the promises of model/config.h.
#include <cstdint>

#include "model/arch/arch.h"
#include "model/file_limits.h"
#include "model/model_limits.h"

namespace {

using catena::ModelConfig;
using catena::RopeScaling;

void CheckPromises(const ModelConfig& c) {
  using namespace catena::limits;
  CATENA_CHECK(c.vocab_size > 0 && c.vocab_size <= kMaxVocab);
  CATENA_CHECK(c.hidden_size > 0 && c.hidden_size <= kMaxHidden);
  CATENA_CHECK(c.intermediate_size > 0 && c.intermediate_size <= kMaxIntermediate);
  CATENA_CHECK(c.n_layers > 0 && c.n_layers <= kMaxLayers);
  CATENA_CHECK(c.n_kv_heads > 0 && c.n_heads <= kMaxHeads && c.n_heads % c.n_kv_heads == 0);
  CATENA_CHECK(c.rotary_dim >= 2 && c.rotary_dim % 2 == 0 && c.rotary_dim <= c.head_dim);
  CATENA_CHECK(c.head_dim <= kMaxHeadDim && c.context_length > 0);
  CATENA_CHECK(c.sliding_window >= 0 && c.sliding_window < c.context_length);
  CATENA_CHECK(c.global.empty() || c.global.size() == static_cast<size_t>(c.n_layers));
  CATENA_CHECK(c.local_rope_theta.value_or(1) >= 1);
  CATENA_CHECK(c.unrotated.empty() || c.unrotated.size() == static_cast<size_t>(c.n_layers));
  CATENA_CHECK(c.rope_theta >= 1 && c.rms_norm_eps > 0);
  for (const double x : {c.embedding_multiplier, c.residual_multiplier, c.logits_divisor,
                         c.attention_scale.value_or(1)}) {
    CATENA_CHECK(x >= kMinMultiplier && x <= kMaxMultiplier);
  }
  for (const double cap : {c.attention_softcap, c.logits_softcap}) {
    CATENA_CHECK(cap == 0 || (cap >= kMinMultiplier && cap <= kMaxMultiplier));
  }
  for (const int32_t id : c.eos_ids) CATENA_CHECK(id >= 0 && id < c.vocab_size);
  CATENA_CHECK(c.bos_id >= -1 && c.bos_id < c.vocab_size);
  if (c.rope_scaling.kind != RopeScaling::Kind::kLongRope) return;
  const size_t factors = static_cast<size_t>(c.rotary_dim / 2);
  CATENA_CHECK(c.rope_scaling.short_factor.size() == factors);
  CATENA_CHECK(c.rope_scaling.long_factor.size() == factors);
  for (const float f : c.rope_scaling.long_factor) CATENA_CHECK(f > 0);
  CATENA_CHECK(c.rope_scaling.attention_factor > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto json = catena::ParseJson({reinterpret_cast<const char*>(data), size},
                                      "fuzz/config.json", catena::limits::kConfigJson);
  if (!json.ok()) return 0;
  const auto read = catena::ReadConfig(*json, "fuzz/config.json");
  if (!read.ok()) {
    CATENA_CHECK(catena::Message(read.status()).find('\n') == std::string_view::npos);
    return 0;
  }
  CheckPromises(read->config);
  return 0;
}
