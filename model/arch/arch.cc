#include "model/arch/arch.h"

namespace catena {

extern const Architecture kPhi3Architecture;                                   // phi3.cc
extern const Architecture kLlamaArchitecture;                                  // llama.cc
extern const Architecture kMistralArchitecture;                                // mistral.cc
extern const Architecture kQwen2Architecture;                                  // qwen2.cc
extern const Architecture kQwen3Architecture;                                  // qwen3.cc
extern const Architecture kSmolLm3Architecture;                                // smollm3.cc
extern const Architecture kGraniteArchitecture;                                // granite.cc
extern const Architecture kGemma2Architecture;                                 // gemma2.cc
extern const Architecture kGemma3Architecture, kGemma3WithImagesArchitecture;  // gemma3.cc

namespace {

constexpr const Architecture* kArchitectures[] = {
    &kPhi3Architecture,    &kLlamaArchitecture,
    &kMistralArchitecture, &kQwen2Architecture,
    &kQwen3Architecture,   &kSmolLm3Architecture,
    &kGraniteArchitecture, &kGemma2Architecture,
    &kGemma3Architecture,  &kGemma3WithImagesArchitecture};

enum class FileKind { kJson, kGguf };

absl::StatusOr<const Architecture*> FindArchitecture(std::string_view name, FileKind kind,
                                                     std::string_view source) {
  std::vector<std::string_view> known;
  for (const Architecture* a : kArchitectures) {
    if (kind == FileKind::kGguf && a->from_gguf == nullptr) continue;
    const bool renamed = kind == FileKind::kGguf && !a->gguf_name.empty();
    known.push_back(renamed ? a->gguf_name : a->name);
    if (known.back() == name) return a;
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: the architecture {} is not supported; known are: {}", source, Quoted(name),
                  fmt::join(known, ", ")));
}

std::string OfLayer(std::string_view pattern, int layer) {
  return fmt::format(fmt::runtime(pattern), layer);
}

TensorSpec NormSpec(const TensorNames& names, std::string name, int64_t cols) {
  return {std::move(name), 1, cols, true, names.norms_less_one ? 1.0f : 0.0f};
}

// What "architectures" says where there is no "model_type": ["LlamaForCausalLM"].
std::string_view NameByClass(const nlohmann::json& config) {
  const auto classes = config.find("architectures");
  if (classes == config.end() || !classes->is_array() || classes->empty()) return "";
  for (const Architecture* a : kArchitectures) {
    if ((*classes)[0] == a->hf_class) return a->name;
  }
  return "";
}

}  // namespace

absl::StatusOr<ArchitectureAndConfig> ReadConfig(const nlohmann::json& config,
                                                 const std::string& source) {
  if (!config.is_object()) {
    return absl::DataLossError(fmt::format("{}: not a JSON object", source));
  }
  CATENA_ASSIGN_OR_RETURN(auto model_type, GetString(config, "model_type", source));
  if (!model_type.has_value()) model_type = NameByClass(config);
  if (model_type->empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: \"model_type\" is missing; is this a model's config.json?", source));
  }
  ArchitectureAndConfig out;
  CATENA_ASSIGN_OR_RETURN(out.architecture, FindArchitecture(*model_type, FileKind::kJson, source));
  CATENA_ASSIGN_OR_RETURN(out.config, out.architecture->from_json(config, source));
  return out;
}

absl::StatusOr<ArchitectureAndConfig> ReadConfig(const GgufFile& file) {
  CATENA_ASSIGN_OR_RETURN(const auto name, file.GetString("general.architecture"));
  if (!name.has_value()) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: metadata \"general.architecture\" is missing; is this a model?", file.source()));
  }
  ArchitectureAndConfig out;
  CATENA_ASSIGN_OR_RETURN(out.architecture,
                          FindArchitecture(*name, FileKind::kGguf, file.source()));
  CATENA_ASSIGN_OR_RETURN(out.config, out.architecture->from_gguf(file));
  return out;
}

const Architecture& ArchitectureOf(const ModelConfig& config) {
  for (const Architecture* a : kArchitectures) {
    if (a->name == config.architecture) return *a;
  }
  CATENA_CHECK(false);
}

BlockSpecs SpecsOfBlock(const ModelConfig& config, const TensorNames& names, int layer) {
  const int64_t hidden = config.hidden_size, intermediate = config.intermediate_size;
  const auto matrix = [&](std::string_view name, int64_t rows, int64_t cols) {
    return TensorSpec{OfLayer(name, layer), rows, cols, false};
  };
  const auto vector = [&](std::string_view name, int64_t cols) {
    return TensorSpec{OfLayer(name, layer), 1, cols, true};
  };
  const auto norm = [&](std::string_view name, int64_t cols) {
    return NormSpec(names, OfLayer(name, layer), cols);
  };
  BlockSpecs s;
  s.attention_norm = norm(names.attention_norm, hidden);
  s.output = matrix(names.output, hidden, config.q_cols());
  s.mlp_norm = norm(names.mlp_norm, hidden);
  s.down = matrix(names.down, hidden, intermediate);
  if (!names.fused_qkv.empty()) {
    s.fused_qkv = {matrix(names.fused_qkv, config.qkv_cols(), hidden)};
  }
  if (!names.q.empty()) {
    s.separate_qkv = {matrix(names.q, config.q_cols(), hidden),
                      matrix(names.k, config.kv_cols(), hidden),
                      matrix(names.v, config.kv_cols(), hidden)};
  }
  if (config.qkv_bias) {
    s.qkv_bias = {vector(names.q_bias, config.q_cols()), vector(names.k_bias, config.kv_cols()),
                  vector(names.v_bias, config.kv_cols())};
  }
  if (config.qk_norm) {
    s.qk_norms = {norm(names.q_norm, config.head_dim), norm(names.k_norm, config.head_dim)};
  }
  if (config.post_norms) {
    s.post_norms = {norm(names.attention_post_norm, hidden), norm(names.mlp_post_norm, hidden)};
  }
  if (!names.fused_gate_up.empty()) {
    s.fused_gate_up = {matrix(names.fused_gate_up, 2 * intermediate, hidden)};
  }
  if (!names.gate.empty()) {
    s.separate_gate_up = {matrix(names.gate, intermediate, hidden),
                          matrix(names.up, intermediate, hidden)};
  }
  return s;
}

TensorSpec SpecOfEmbedding(const ModelConfig& config, const TensorNames& names) {
  return {std::string(names.embedding), config.vocab_size, config.hidden_size, false};
}

TensorSpec SpecOfFinalNorm(const ModelConfig& config, const TensorNames& names) {
  return NormSpec(names, std::string(names.final_norm), config.hidden_size);
}

TensorSpec SpecOfLmHead(const ModelConfig& config, const TensorNames& names) {
  if (config.tied_embeddings) return SpecOfEmbedding(config, names);
  return {std::string(names.lm_head), config.vocab_size, config.hidden_size, false};
}

std::vector<TensorSpec> AllSpecs(const ModelConfig& config, const TensorNames& names) {
  std::vector<TensorSpec> all = {SpecOfEmbedding(config, names), SpecOfFinalNorm(config, names)};
  if (!config.tied_embeddings) all.push_back(SpecOfLmHead(config, names));
  for (int layer = 0; layer < config.n_layers; ++layer) {
    const BlockSpecs block = SpecsOfBlock(config, names, layer);
    all.insert(all.end(), {block.attention_norm, block.output, block.mlp_norm, block.down});
    const auto& qkv = block.fused_qkv.empty() ? block.separate_qkv : block.fused_qkv;
    const auto& gate_up =
        block.fused_gate_up.empty() ? block.separate_gate_up : block.fused_gate_up;
    all.insert(all.end(), qkv.begin(), qkv.end());
    all.insert(all.end(), gate_up.begin(), gate_up.end());
    all.insert(all.end(), block.qkv_bias.begin(), block.qkv_bias.end());
    all.insert(all.end(), block.qk_norms.begin(), block.qk_norms.end());
    all.insert(all.end(), block.post_norms.begin(), block.post_norms.end());
  }
  return all;
}

}  // namespace catena
