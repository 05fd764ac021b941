#include "model/quantise/folder_plan.h"

#include <filesystem>

#include "model/arch/arch.h"
#include "model/quantise/gguf_facts.h"
#include "model/quantise/gguf_tokenizer.h"

namespace catena {
namespace {

class FolderPlanner {
 public:
  FolderPlanner(const Checkpoint& folder, const QuantiseFormat& format)
      : folder_(folder),
        config_(folder.config()),
        hf_(ArchitectureOf(config_).hf),
        gguf_(ArchitectureOf(config_).gguf),
        format_(format) {}

  absl::StatusOr<QuantisePlan> Plan();

 private:
  absl::Status AddTokenizer();
  absl::Status AddTensor(const TensorSpec& hf, const TensorSpec& gguf);
  absl::Status AddBlock(int layer);
  absl::Status CheckReadsBack() const;

  const Checkpoint& folder_;
  const ModelConfig& config_;
  const TensorNames &hf_, &gguf_;
  const QuantiseFormat& format_;
  QuantisePlan plan_;
};

absl::Status FolderPlanner::AddTokenizer() {
  auto tokenizer = Tokenizer::FromCheckpoint(folder_);
  if (absl::IsNotFound(tokenizer.status())) {
    plan_.warnings.push_back(fmt::format(
        "{}: there is no tokenizer.json; the new file has no tokenizer either", folder_.path()));
    return absl::OkStatus();
  }
  if (!tokenizer.ok()) return tokenizer.status();
  CATENA_ASSIGN_OR_RETURN(const GgufVocabulary vocabulary,
                          DescribeTokenizer(folder_, **tokenizer, &plan_.warnings));
  SetVocabulary(vocabulary, folder_.generation().eos_ids, &plan_.metadata, &plan_.warnings);
  const std::string& chat_template = folder_.tokenizer_config().chat_template;
  if (!chat_template.empty()) plan_.metadata.SetString("tokenizer.chat_template", chat_template);
  return absl::OkStatus();
}

absl::Status FolderPlanner::AddTensor(const TensorSpec& hf, const TensorSpec& gguf) {
  CATENA_ASSIGN_OR_RETURN(TensorView source, folder_.tensors().Find(hf.name));
  source.added = hf.added;
  // Those of a quantised folder are made: the plan would hold the model in memory.
  source.bytes = {};
  source.owner = nullptr;
  const bool gives_logits = hf.name == SpecOfLmHead(config_, hf_).name;
  plan_.tensors.push_back(PlanTensor(gguf.name, source, format_.dtype, gives_logits, DType::kF32));
  return absl::OkStatus();
}

absl::Status FolderPlanner::AddBlock(int layer) {
  const BlockSpecs hf = SpecsOfBlock(config_, hf_, layer);
  const BlockSpecs gguf = SpecsOfBlock(config_, gguf_, layer);
  std::vector<std::pair<TensorSpec, TensorSpec>> pairs = {{hf.attention_norm, gguf.attention_norm},
                                                          {hf.mlp_norm, gguf.mlp_norm}};
  const auto add = [&](const std::vector<TensorSpec>& from, const std::vector<TensorSpec>& to) {
    CATENA_CHECK(from.size() == to.size());
    for (size_t i = 0; i < from.size(); ++i) pairs.emplace_back(from[i], to[i]);
  };
  const bool fused = !hf.fused_qkv.empty();  // then GGUF has it fused as well
  const size_t qkv = pairs.size();
  add(fused ? hf.fused_qkv : hf.separate_qkv, fused ? gguf.fused_qkv : gguf.separate_qkv);
  add(hf.qkv_bias, gguf.qkv_bias);
  add(hf.qk_norms, gguf.qk_norms);
  add(hf.post_norms, gguf.post_norms);
  pairs.emplace_back(hf.output, gguf.output);
  const bool fused_up = !hf.fused_gate_up.empty();
  add(fused_up ? hf.fused_gate_up : hf.separate_gate_up,
      fused_up ? gguf.fused_gate_up : gguf.separate_gate_up);
  pairs.emplace_back(hf.down, gguf.down);
  const size_t first = plan_.tensors.size();
  for (const auto& [from, to] : pairs) CATENA_RETURN_IF_ERROR(AddTensor(from, to));
  if (gguf_.interleaved_qk && !fused) {
    for (const size_t qk : {qkv, qkv + 1}) {
      plan_.tensors[first + qk].interleaved_head_dim = config_.head_dim;
    }
  }
  return absl::OkStatus();
}

// A file of the metadata, the tensors that they need and an empty head, which says that there is
// one, is read as any.
absl::Status FolderPlanner::CheckReadsBack() const {
  std::vector<GgufTensorInfo> infos;
  for (const PlannedTensor& t : plan_.tensors) {
    if (t.made) infos.push_back(t.info);
  }
  if (!config_.tied_embeddings) infos.push_back({std::string(gguf_.lm_head), DType::kF32, 0, 1});
  std::string bytes = GgufHeader(plan_.metadata, infos);
  for (const PlannedTensor& t : plan_.tensors) {
    if (!t.made) continue;
    bytes.append(reinterpret_cast<const char*>(t.source.bytes.data()), t.source.bytes.size());
    bytes.resize(PadToGgufAlignment(bytes.size()), '\0');
  }
  CATENA_ASSIGN_OR_RETURN(
      const auto file,
      GgufFile::Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                      folder_.path()));
  CATENA_ASSIGN_OR_RETURN(const ArchitectureAndConfig read, ReadConfig(*file));
  const std::string difference = FirstDifference(config_, read.config);
  if (difference.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: a GGUF file of the architecture {} cannot say {}; use the folder itself, "
                  "which runs as it is",
                  folder_.path(), read.config.architecture, difference));
}

absl::StatusOr<QuantisePlan> FolderPlanner::Plan() {
  std::error_code ignored;
  const std::string name = std::filesystem::canonical(folder_.path(), ignored).filename();
  GgufFacts facts = DescribeModel(config_, folder_.generation(), name);
  plan_.metadata = std::move(facts.metadata);
  SetFormat(format_, &plan_.metadata);
  plan_.tensors = std::move(facts.tensors);
  CATENA_RETURN_IF_ERROR(CheckReadsBack());
  CATENA_RETURN_IF_ERROR(AddTokenizer());
  CATENA_RETURN_IF_ERROR(AddTensor(SpecOfEmbedding(config_, hf_), SpecOfEmbedding(config_, gguf_)));
  CATENA_RETURN_IF_ERROR(AddTensor(SpecOfFinalNorm(config_, hf_), SpecOfFinalNorm(config_, gguf_)));
  if (!config_.tied_embeddings) {
    CATENA_RETURN_IF_ERROR(AddTensor(SpecOfLmHead(config_, hf_), SpecOfLmHead(config_, gguf_)));
  }
  for (int layer = 0; layer < config_.n_layers; ++layer) CATENA_RETURN_IF_ERROR(AddBlock(layer));
  return std::move(plan_);
}

}  // namespace

absl::StatusOr<QuantisePlan> PlanFolder(const Checkpoint& folder, const QuantiseFormat& format) {
  return FolderPlanner(folder, format).Plan();
}

}  // namespace catena
