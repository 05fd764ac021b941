#include "model/fingerprint.h"

#include <algorithm>

#include <fmt/ranges.h>
#include <xxhash.h>

namespace catena {
namespace {

constexpr size_t kSampleBytes = 4096;

class Hash {
 public:
  Hash() : state_(XXH3_createState()) { XXH3_64bits_reset(state_); }
  ~Hash() { XXH3_freeState(state_); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;

  void Add(absl::Span<const uint8_t> bytes) {
    XXH3_64bits_update(state_, bytes.data(), bytes.size());
  }
  void Add(const std::string& text) {
    Add({reinterpret_cast<const uint8_t*>(text.data()), text.size() + 1});  // with its end
  }
  std::string Hex() const { return fmt::format("{:016x}", XXH3_64bits_digest(state_)); }

 private:
  XXH3_state_t* state_;
};

// What came to be a fact later is said only where a model has it: others keep the fingerprint that
// earlier releases know them by.
std::string LaterFacts(const ModelConfig& c) {
  std::string facts;
  if (!c.unrotated.empty()) facts += fmt::format(" | unrotated {}", c.unrotated);
  if (c.embedding_multiplier != 1 || c.residual_multiplier != 1 || c.logits_divisor != 1) {
    facts += fmt::format(" | multipliers {} {} {}", c.embedding_multiplier, c.residual_multiplier,
                         c.logits_divisor);
  }
  if (c.attention_scale) facts += fmt::format(" | attention {}", *c.attention_scale);
  if (!c.global.empty()) facts += fmt::format(" | global {}", c.global);
  if (c.local_rope_theta) facts += fmt::format(" | local rope {}", *c.local_rope_theta);
  if (c.attention_softcap != 0 || c.logits_softcap != 0) {
    facts += fmt::format(" | softcaps {} {}", c.attention_softcap, c.logits_softcap);
  }
  return facts;
}

std::string Facts(const ModelConfig& c) {
  const RopeScaling& r = c.rope_scaling;
  return fmt::format(
      "{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} | {} {} {} {} {} {} {} {} {} {} {}{}",
      c.architecture, c.vocab_size, c.hidden_size, c.intermediate_size, c.n_layers, c.n_heads,
      c.n_kv_heads, c.head_dim, c.rotary_dim, c.rope_theta, c.rms_norm_eps, c.context_length,
      c.sliding_window, c.tied_embeddings, c.eos_ids, static_cast<int>(r.kind), r.factor,
      r.low_freq_factor, r.high_freq_factor, r.original_max_positions, r.short_factor,
      r.long_factor, r.attention_factor, r.beta_fast, r.beta_slow, r.whole_dimensions,
      LaterFacts(c));
}

void AddTensor(const StoredTensor& t, Hash* hash) {
  hash->Add(fmt::format("{} {} {}", t.name, t.type, fmt::join(t.shape, " ")));
  const size_t n = std::min(kSampleBytes, t.bytes.size());
  hash->Add(t.bytes.subspan(0, n));
  hash->Add(t.bytes.subspan((t.bytes.size() - n) / 2, n));
  hash->Add(t.bytes.subspan(t.bytes.size() - n, n));
}

}  // namespace

absl::StatusOr<std::string> Fingerprint(const Checkpoint& checkpoint,
                                        const CheckpointOptions& options) {
  Hash hash;
  hash.Add(Facts(checkpoint.config()));
  if (!options.weights.empty()) {  // the seed says all
    hash.Add(options.weights);
    hash.Add(fmt::format("{}", static_cast<int>(options.random_format)));
    return hash.Hex();
  }
  std::vector<std::string> names = checkpoint.tensors().StoredNames();
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    absl::StatusOr<StoredTensor> tensor = checkpoint.tensors().FindStored(name);
    // A tensor of a type or a shape that is not read here is none of the model's.
    if (!tensor.ok()) continue;
    AddTensor(*tensor, &hash);
    checkpoint.tensors().Release({.name = name, .bytes = tensor->bytes, .owner = nullptr});
  }
  return hash.Hex();
}

}  // namespace catena
