#include "services/cli/model_options.h"

#include <fmt/ranges.h>

#include "kernels/base/cores.h"
#include "kernels/cpu/cpu_backend.h"
#include "model/fingerprint.h"
#include "runtime/stage/layer_range.h"
#include "services/cli/progress.h"

namespace catena::cli {
namespace {

std::string FormatNames() {
  std::vector<std::string_view> names;
  for (const DType t : kAllDTypes) names.push_back(Name(t));
  return fmt::format("{}", fmt::join(names, ", "));
}

absl::StatusOr<DType> ParseFormat(const std::string& name) {
  const std::optional<DType> dtype = ParseDType(name);
  if (!dtype) {
    return absl::InvalidArgumentError(
        fmt::format("--weight-format {}: give one of {}", name, FormatNames()));
  }
  return *dtype;
}

absl::StatusOr<CheckpointOptions> ToCheckpointOptions(const ModelOptions& options) {
  CheckpointOptions checkpoint{.weights = options.weights};
  if (!options.weight_format.empty()) {
    if (options.weights.empty()) {
      return absl::InvalidArgumentError(
          "--weight-format is of random weights; add --weights random:SEED");
    }
    CATENA_ASSIGN_OR_RETURN(checkpoint.random_format, ParseFormat(options.weight_format));
  }
  return checkpoint;
}

absl::StatusOr<std::vector<LayerRange>> Cuts(const RunOptions& options, int n_layers) {
  if (!options.layers.empty()) return ParseLayers(options.layers, n_layers);
  return BalancedCuts(n_layers, options.stages, {});
}

}  // namespace

Option ModelOptions::Declare(App& app, const char* name) {
  const Option option = app.AddOption(name, &model, "GGUF file or Hugging Face folder").Required();
  app.AddOption("--weights", &weights, "random:SEED makes weights from the config alone");
  app.AddOption("--weight-format", &weight_format,
                "Of random weights, bf16 by default: " + FormatNames());
  return option;
}

void ModelOptions::DeclareChatTemplate(App& app) {
  app.AddOption("--chat-template", &chat_template,
                fmt::format("Use this chat template instead of the model's: {}",
                            fmt::join(ChatTemplate::Names(), ", ")));
}

std::string CpuTargetHelp() {
  return fmt::format("The instruction set (default: the best of the CPU's): {}", CpuIsaNames());
}

void CpuTarget::Declare(App& app) { app.AddOption(kCpuTarget, &name, CpuTargetHelp()); }

absl::Status CpuTarget::Choose() const {
  if (name.empty()) return absl::OkStatus();
  return Annotate(LimitCpuIsa(name), kCpuTarget);
}

void ComputeOptions::Declare(App& app) {
  app.AddOption("--threads", &threads, "Threads that compute (default: all cores)").Range(1, 1024);
  app.AddOption("--activations", &activations, kActivationsHelp).OneOf(kActivations);
  app.AddOption("--kv-dtype", &kv_dtype, "f16 (default) or f32").OneOf({"f16", "f32"});
  app.AddOption("--backend", &backend, "auto (default), " + BackendNames());
  cpu_target.Declare(app);
  app.AddOption("--device", &device, "The GPU of --backend cuda, counted from 0 (default 0)")
      .Range(0, 1023);
}

BackendOptions ComputeOptions::ForBackend() const {
  return {.threads = threads > 0 ? threads : UsableCores(),
          .activations = activations == "f32"    ? Activations::kF32
                         : activations == "bf16" ? Activations::kBf16
                                                 : Activations::kInt8,
          .device = device};
}

void RunOptions::Declare(App& app) {
  ComputeOptions::Declare(app);
  const Option by_count = app.AddOption("--stages", &stages, "Run the model as this many stages");
  app.AddOption("--layers", &layers, "Run the model as these stages, for example 0-16,16-30")
      .Excludes(by_count);
  app.AddOption("--batch", &batch, "Rows a batch may have (default 512)").Range(1, 65536);
}

absl::StatusOr<const Tokenizer*> Model::NeedTokenizer() const {
  if (tokenizer != nullptr) return tokenizer.get();
  return absl::InvalidArgumentError(fmt::format(
      "{}: there is no tokenizer.json beside the model; add it, or give --prompt-tokens",
      checkpoint->path()));
}

void PrintWarning(const std::string& line) { fmt::print(stderr, "catena: warning: {}\n", line); }

absl::StatusOr<Model> OpenModel(const ModelOptions& options, const Warn& warn) {
  CATENA_ASSIGN_OR_RETURN(const CheckpointOptions checkpoint, ToCheckpointOptions(options));
  Model model;
  CATENA_ASSIGN_OR_RETURN(model.checkpoint, Checkpoint::Open(options.model, checkpoint));
  auto tokenizer = Tokenizer::FromCheckpoint(*model.checkpoint);
  if (tokenizer.ok()) {
    model.tokenizer = std::move(*tokenizer);
  } else if (!absl::IsNotFound(tokenizer.status())) {
    return tokenizer.status();
  }
  model.generation = model.checkpoint->generation();
  if (model.tokenizer != nullptr) {
    for (const int32_t id : model.tokenizer->end_ids()) {
      if (id < model.config().vocab_size) AddId(id, &model.generation.eos_ids);
    }
  }
  for (const std::string& warning : model.checkpoint->warnings()) warn(warning);
  return model;
}

absl::StatusOr<std::string> ModelFingerprint(const Model& model, const ModelOptions& options) {
  CATENA_ASSIGN_OR_RETURN(const CheckpointOptions checkpoint, ToCheckpointOptions(options));
  return Fingerprint(*model.checkpoint, checkpoint);
}

absl::StatusOr<Model> OpenModelShapes(const ModelOptions& options) {
  auto model = OpenModel(options);
  if (!absl::IsNotFound(model.status()) || !options.weights.empty()) return model;
  ModelOptions shapes = options;
  shapes.weights = "random:0";
  auto without_weights = OpenModel(shapes);
  if (!without_weights.ok()) return model;
  without_weights->has_weights = false;
  return without_weights;
}

absl::StatusOr<ChatTemplate> OpenChatTemplate(const Model& model, const ModelOptions& options) {
  const Checkpoint& c = *model.checkpoint;
  const TokenizerConfig& t = c.tokenizer_config();
  if (!options.chat_template.empty()) {
    return ChatTemplate::ByName(options.chat_template, t.bos_token, t.eos_token);
  }
  auto found = ChatTemplate::Parse(t.chat_template, t.bos_token, t.eos_token);
  if (!found.ok()) return Annotate(found.status(), c.path());
  return found;
}

absl::StatusOr<std::unique_ptr<Engine>> LoadEngine(const Model& model, const RunOptions& options,
                                                   int64_t positions, int64_t sequences) {
  CATENA_ASSIGN_OR_RETURN(const auto layers, Cuts(options, model.config().n_layers));
  CATENA_RETURN_IF_ERROR(options.cpu_target.Choose());
  const EngineOptions engine{.backend = options.backend,
                             .threads = options.ForBackend().threads,
                             .device = options.device,
                             .activations = options.ForBackend().activations,
                             .kv_dtype = options.KvDType(),
                             .layers = layers,
                             .max_rows = options.batch,
                             .max_positions = positions,
                             .max_sequences = sequences};
  ProgressBar bar("Loading");
  return Engine::Load(*model.checkpoint, engine, [&](double done) { bar.Show(done); });
}

}  // namespace catena::cli
