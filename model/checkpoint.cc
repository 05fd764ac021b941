#include "model/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "model/arch/arch.h"
#include "model/file_limits.h"
#include "model/side_files.h"
#include "model/weights/gguf_parts.h"
#include "model/weights/quantised/quantised_weights.h"
#include "model/weights/random_weights.h"
#include "model/weights/safetensors.h"

namespace catena {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRandomPrefix = "random:";

// Everything that a checkpoint is, whichever files it came from.
struct Parts {
  std::string path;
  const Architecture* architecture = nullptr;
  const TensorNames* names = nullptr;
  ModelConfig config;
  std::shared_ptr<const TensorSource> tensors = nullptr;
  SideFiles side = {};
};

class OpenCheckpoint final : public Checkpoint {
 public:
  explicit OpenCheckpoint(Parts parts) : parts_(std::move(parts)) {}

  const std::string& path() const override { return parts_.path; }
  const ModelConfig& config() const override { return parts_.config; }
  const GenerationConfig& generation() const override { return parts_.side.generation; }
  const TensorSource& tensors() const override { return *parts_.tensors; }

  absl::StatusOr<BlockTensors> Block(int layer) const override;
  absl::StatusOr<TensorView> Embedding() const override {
    return Get(SpecOfEmbedding(parts_.config, *parts_.names));
  }
  absl::StatusOr<TensorView> FinalNorm() const override {
    return Get(SpecOfFinalNorm(parts_.config, *parts_.names));
  }
  absl::StatusOr<TensorView> LmHead() const override {
    return Get(SpecOfLmHead(parts_.config, *parts_.names));
  }

  const GgufVocabulary* gguf_vocabulary() const override {
    return parts_.side.vocabulary.has_value() ? &*parts_.side.vocabulary : nullptr;
  }
  std::optional<std::string> tokenizer_json_path() const override {
    return parts_.side.tokenizer_json_path;
  }
  const TokenizerConfig& tokenizer_config() const override { return parts_.side.tokenizer; }
  const std::vector<std::string>& warnings() const override { return parts_.side.warnings; }

 private:
  absl::StatusOr<TensorView> Get(const TensorSpec& spec, bool has_bias = false) const;
  absl::StatusOr<std::vector<TensorView>> GetEither(const std::vector<TensorSpec>& fused,
                                                    const std::vector<TensorSpec>& separate,
                                                    bool have_bias) const;

  Parts parts_;
};

// The tensor, once its shape is what the config says.
absl::StatusOr<TensorView> OpenCheckpoint::Get(const TensorSpec& spec, bool has_bias) const {
  auto view = parts_.tensors->Find(spec.name);
  if (absl::IsNotFound(view.status())) {
    return absl::DataLossError(
        fmt::format("{}; the file is incomplete, fetch it again", Message(view.status())));
  }
  if (!view.ok()) return view.status();
  if (view->rows != spec.rows || view->cols != spec.cols) {
    return absl::DataLossError(
        fmt::format("{}: tensor {} has the shape ({}, {}) where the config wants ({}, {})",
                    parts_.path, Quoted(spec.name), view->rows, view->cols, spec.rows, spec.cols));
  }
  if (spec.is_vector && IsQuantised(view->dtype)) {
    return absl::InvalidArgumentError(
        fmt::format("{}: tensor {} is a vector quantised to {}, which is not supported",
                    parts_.path, Quoted(spec.name), Name(view->dtype)));
  }
  // A bias would be left out of every product without a word.
  constexpr std::string_view kWeight = ".weight";
  if (!has_bias && spec.name.ends_with(kWeight)) {
    const std::string bias = spec.name.substr(0, spec.name.size() - kWeight.size()) + ".bias";
    if (parts_.tensors->Has(bias)) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: tensor {}: models with biases are not supported", parts_.path, Quoted(bias)));
    }
  }
  view->added = spec.added;
  return view;
}

absl::StatusOr<std::vector<TensorView>> OpenCheckpoint::GetEither(
    const std::vector<TensorSpec>& fused, const std::vector<TensorSpec>& separate,
    bool have_bias) const {
  const bool use_fused = separate.empty() || (!fused.empty() && parts_.tensors->Has(fused[0].name));
  std::vector<TensorView> views;
  for (const TensorSpec& spec : use_fused ? fused : separate) {
    CATENA_ASSIGN_OR_RETURN(views.emplace_back(), Get(spec, have_bias));
  }
  return views;
}

absl::StatusOr<BlockTensors> OpenCheckpoint::Block(int layer) const {
  CATENA_CHECK(layer >= 0 && layer < parts_.config.n_layers);
  const BlockSpecs specs = SpecsOfBlock(parts_.config, *parts_.names, layer);
  BlockTensors block;
  CATENA_ASSIGN_OR_RETURN(block.attention_norm, Get(specs.attention_norm));
  CATENA_ASSIGN_OR_RETURN(block.qkv,
                          GetEither(specs.fused_qkv, specs.separate_qkv, parts_.config.qkv_bias));
  CATENA_ASSIGN_OR_RETURN(block.output, Get(specs.output));
  CATENA_ASSIGN_OR_RETURN(block.mlp_norm, Get(specs.mlp_norm));
  CATENA_ASSIGN_OR_RETURN(block.gate_up,
                          GetEither(specs.fused_gate_up, specs.separate_gate_up, false));
  CATENA_ASSIGN_OR_RETURN(block.down, Get(specs.down));
  for (const TensorSpec& spec : specs.qkv_bias) {
    TensorView& bias = block.qkv_bias.emplace_back();
    CATENA_ASSIGN_OR_RETURN(bias, Get(spec));
    std::swap(bias.rows, bias.cols);
  }
  for (const TensorSpec& spec : specs.qk_norms) {
    CATENA_ASSIGN_OR_RETURN(block.qk_norms.emplace_back(), Get(spec));
  }
  for (const TensorSpec& spec : specs.post_norms) {
    CATENA_ASSIGN_OR_RETURN(block.post_norms.emplace_back(), Get(spec));
  }
  if (parts_.names->interleaved_qk && block.qkv.size() == 3) {
    block.qkv[0].interleaved_head_dim = parts_.config.head_dim;
    block.qkv[1].interleaved_head_dim = parts_.config.head_dim;
  }
  return block;
}

// A name without the blocks: "model.layers." of "model.layers.{}.self_attn.q_proj.weight".
std::string_view BeforeNumber(std::string_view pattern) {
  return pattern.substr(0, pattern.find("{}"));
}

// Computing with fewer blocks than the file has would give other text without a word.
absl::Status CheckNoMoreBlocks(const Parts& parts) {
  const std::string_view prefix = BeforeNumber(parts.names->attention_norm);
  for (const std::string& name : parts.tensors->Names()) {
    if (!std::string_view(name).starts_with(prefix)) continue;
    int64_t block = -1;
    const char *digits = name.data() + prefix.size(), *end = name.data() + name.size();
    const auto parsed = std::from_chars(digits, end, block);
    if (parsed.ec != std::errc() || parsed.ptr == end || *parsed.ptr != '.') continue;
    if (block < parts.config.n_layers) continue;
    return absl::DataLossError(
        fmt::format("{}: the config has {} blocks, but the weights hold {} of block {} as well: "
                    "they do not belong "
                    "together; fetch both again, or correct the count of blocks",
                    parts.path, parts.config.n_layers, Quoted(name), block));
  }
  return absl::OkStatus();
}

bool SameValues(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.rows == b.rows && a.cols == b.cols &&
         a.bytes.size() == b.bytes.size() &&
         std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

// A config that ties the head to the embedding beside weights with a head of their own: a finetune
// may have untied them. The weights are right, as for transformers 5 and vLLM; where the head is a
// copy, one of the two will do.
absl::Status UntieOwnHead(Parts* parts) {
  const std::string head_name(parts->names->lm_head);
  if (!parts->config.tied_embeddings || !parts->tensors->Has(head_name)) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(const TensorView head, parts->tensors->Find(head_name));
  CATENA_ASSIGN_OR_RETURN(const TensorView embedding,
                          parts->tensors->Find(std::string(parts->names->embedding)));
  const bool same = SameValues(head, embedding);
  parts->tensors->Release(head);
  parts->tensors->Release(embedding);
  if (same) return absl::OkStatus();
  parts->config.tied_embeddings = false;
  parts->side.warnings.push_back(fmt::format(
      "{}: config.json ties the head to the embedding, but the weights have another {}; "
      "the weights' own is used",
      parts->path, head_name));
  return absl::OkStatus();
}

// What can be said of weights that are at hand.
absl::Status CheckWeights(Parts* parts) {
  CATENA_RETURN_IF_ERROR(CheckNoMoreBlocks(*parts));
  CATENA_RETURN_IF_ERROR(UntieOwnHead(parts));
  return absl::OkStatus();
}

// "random:SEED" to SEED.
absl::StatusOr<uint64_t> ParseSeed(std::string_view weights) {
  uint64_t seed = 0;
  if (weights.starts_with(kRandomPrefix)) {
    const std::string_view digits = weights.substr(kRandomPrefix.size());
    const char* end = digits.data() + digits.size();
    const auto parsed = std::from_chars(digits.data(), end, seed);
    if (!digits.empty() && parsed.ec == std::errc() && parsed.ptr == end) return seed;
  }
  return absl::InvalidArgumentError(
      fmt::format("weights {} are not random:SEED with SEED a number below 2^64", Quoted(weights)));
}

// Gives `parts` random weights, in Hugging Face's spelling.
absl::Status UseRandomWeights(const CheckpointOptions& options, Parts* parts) {
  CATENA_ASSIGN_OR_RETURN(const uint64_t seed, ParseSeed(options.weights));
  parts->names = &parts->architecture->hf;
  CATENA_ASSIGN_OR_RETURN(
      parts->tensors,
      RandomWeights::Make(seed, options.random_format, AllSpecs(parts->config, *parts->names)));
  return absl::OkStatus();
}

absl::StatusOr<Parts> OpenGguf(const std::string& path, const CheckpointOptions& options) {
  CATENA_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(path));
  CATENA_ASSIGN_OR_RETURN(const auto tensors, OpenGgufParts(file));
  CATENA_ASSIGN_OR_RETURN(ArchitectureAndConfig read, ReadConfig(*file));
  Parts parts{.path = path, .architecture = read.architecture, .config = std::move(read.config)};
  CATENA_ASSIGN_OR_RETURN(parts.side, ReadGgufSide(*file, *parts.architecture, parts.config));
  if (!options.weights.empty()) {
    CATENA_RETURN_IF_ERROR(UseRandomWeights(options, &parts));
    return parts;
  }
  parts.names = &parts.architecture->gguf;
  parts.tensors = tensors;
  CATENA_RETURN_IF_ERROR(CheckWeights(&parts));
  return parts;
}

// Those that lie beside `config`, a config.json at `path`.
absl::Status OpenFolderWeights(const nlohmann::json& config, const std::string& path,
                               Parts* parts) {
  CATENA_ASSIGN_OR_RETURN(std::optional<QuantScheme> scheme, ReadQuantScheme(config, path));
  const std::string folder = fs::path(path).parent_path().string();
  CATENA_ASSIGN_OR_RETURN(auto file, OpenSafetensorsFolder(folder.empty() ? "." : folder));
  if (!scheme) {
    parts->tensors = file;
    return CheckNotQuantised(*file, parts->path);
  }
  parts->side.warnings.insert(parts->side.warnings.end(), scheme->warnings.begin(),
                              scheme->warnings.end());
  parts->tensors =
      std::make_shared<QuantisedWeights>(std::move(file), *std::move(scheme), parts->path);
  return absl::OkStatus();
}

// A folder, by its config.json.
absl::StatusOr<Parts> OpenFolder(const std::string& path, const std::string& config_path,
                                 const CheckpointOptions& options) {
  CATENA_ASSIGN_OR_RETURN(const nlohmann::json json,
                          ReadJsonFile(config_path, limits::kConfigJson));
  CATENA_ASSIGN_OR_RETURN(ArchitectureAndConfig read, ReadConfig(json, config_path));
  Parts parts{.path = path, .architecture = read.architecture, .config = std::move(read.config)};
  const std::string folder = fs::path(config_path).parent_path().string();
  CATENA_ASSIGN_OR_RETURN(parts.side, ReadFolderSide(folder, parts.config));
  if (!options.weights.empty()) {
    CATENA_RETURN_IF_ERROR(UseRandomWeights(options, &parts));
    return parts;
  }
  parts.names = &parts.architecture->hf;
  CATENA_RETURN_IF_ERROR(OpenFolderWeights(json, config_path, &parts));
  CATENA_RETURN_IF_ERROR(CheckWeights(&parts));
  return parts;
}

absl::StatusOr<Parts> OpenDirectory(const std::string& path, const CheckpointOptions& options) {
  std::error_code ignored;
  const std::string config_path = (fs::path(path) / "config.json").string();
  if (fs::exists(config_path, ignored)) return OpenFolder(path, config_path, options);
  for (fs::directory_iterator it(path, ignored), end; it != end; it.increment(ignored)) {
    if (it->path().extension() != ".gguf") continue;
    return absl::NotFoundError(fmt::format(
        "{}: no config.json, but a GGUF file; give its own path, {}", path, it->path().string()));
  }
  return absl::NotFoundError(
      fmt::format("{}: no config.json; a model is a GGUF file or a Hugging Face folder with "
                  "config.json, model.safetensors and tokenizer.json",
                  path));
}

absl::StatusOr<Parts> OpenFile(const std::string& path, const CheckpointOptions& options) {
  const std::string extension = fs::path(path).extension().string();
  if (extension == ".json") {
    if (!options.weights.empty()) return OpenFolder(path, path, options);
    return absl::NotFoundError(fmt::format(
        "{}: a config has no weights; give its folder, or --weights random:SEED", path));
  }
  if (extension == ".safetensors" || extension == ".bin" || extension == ".pth") {
    return absl::InvalidArgumentError(
        fmt::format("{}: weights alone are no model; give the folder with its config.json", path));
  }
  return OpenGguf(path, options);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Checkpoint>> Checkpoint::Open(
    const std::string& path, const CheckpointOptions& options) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  if (!fs::exists(status)) {
    return absl::NotFoundError(fmt::format(
        "{}: no such file or folder; a model is a GGUF file or a Hugging Face folder", path));
  }
  auto parts = fs::is_directory(status) ? OpenDirectory(path, options) : OpenFile(path, options);
  if (!parts.ok()) return parts.status();
  std::vector<std::string>& warnings = parts->side.warnings;
  warnings.insert(warnings.begin(), parts->config.warnings.begin(), parts->config.warnings.end());
  return std::make_shared<OpenCheckpoint>(*std::move(parts));
}

}  // namespace catena
