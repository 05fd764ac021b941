// The options of every command that runs a model, and what they open.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "model/chat/chat_template.h"
#include "model/checkpoint.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/local/engine.h"
#include "services/cli/command.h"

namespace catena::cli {

// Which model, and where its weights come from.
struct ModelOptions {
  std::string model;
  std::string weights;        // random:SEED, or "" for the files'
  std::string weight_format;  // of random weights
  std::string chat_template;  // a name, or "" for the model's own

  // The model as --model, or as the name given ("model": a positional that --model spells too).
  Option Declare(App& app, const char* name = "-m,--model");
  void DeclareChatTemplate(App& app);
};

// What --activations takes, here and where `catena up` hands it on.
inline constexpr std::initializer_list<const char*> kActivations = {"int8", "bf16", "f32"};
inline constexpr char kActivationsHelp[] =
    "int8 (default): of quantised weights; bf16: also bf16 of bf16 weights; f32: of all";

// The instruction set that this process computes with, where it is not the best.
struct CpuTarget {
  std::string name;  // "": the best that the CPU has

  void Declare(App& app);
  // Once, before anything is computed.
  absl::Status Choose() const;
};
inline constexpr char kCpuTarget[] = "--cpu-target";
std::string CpuTargetHelp();

// How it is computed.
struct ComputeOptions {
  std::string backend = "auto";
  int threads = 0;  // 0: every core this process may use
  int device = 0;   // of the GPUs
  std::string activations = "int8";
  std::string kv_dtype = "f16";
  CpuTarget cpu_target;

  void Declare(App& app);
  BackendOptions ForBackend() const;
  DType KvDType() const { return kv_dtype == "f32" ? DType::kF32 : DType::kF16; }
};

// How it is run in one process.
struct RunOptions : ComputeOptions {
  int stages = 1;
  std::string layers;
  int batch = 512;

  void Declare(App& app);
};

// A model's files, open; its weights not yet read.
struct Model {
  std::shared_ptr<const Checkpoint> checkpoint;
  std::shared_ptr<const Tokenizer> tokenizer;  // null where the files have none
  GenerationConfig generation;                 // with the tokens that the tokenizer says end a text
  bool has_weights = true;                     // false: see OpenModelShapes

  const ModelConfig& config() const { return checkpoint->config(); }
  // INVALID_ARGUMENT that says what is missing.
  absl::StatusOr<const Tokenizer*> NeedTokenizer() const;
};
// Tells what is odd in the files: on stderr, or (of a role, which logs) to `warn`.
using Warn = std::function<void(const std::string& line)>;
void PrintWarning(const std::string& line);
absl::StatusOr<Model> OpenModel(const ModelOptions& options, const Warn& warn = PrintWarning);

// See model/fingerprint.h.
absl::StatusOr<std::string> ModelFingerprint(const Model& model, const ModelOptions& options);

// The same where weights are not read: a config.json, or a folder without weights, will do; sizes
// are then those of bf16. Damaged weights are an error all the same.
absl::StatusOr<Model> OpenModelShapes(const ModelOptions& options);

// The template that --chat-template names, or the model's own.
absl::StatusOr<ChatTemplate> OpenChatTemplate(const Model& model, const ModelOptions& options);

// Reads the weights, with a progress bar where stderr is a terminal. `positions` of a sequence (0:
// the model's context), `sequences` at a time.
absl::StatusOr<std::unique_ptr<Engine>> LoadEngine(const Model& model, const RunOptions& options,
                                                   int64_t positions, int64_t sequences);

}  // namespace catena::cli
