// catena plan: cuts of a model into stages whose largest share of the work of a token is least, as
// a table, as JSON, or as workloads of Kubernetes; and what a number of GPUs makes of it.
#include <filesystem>

#include "runtime/chain/journal.h"
#include "runtime/stage/layer_range.h"
#include "services/cli/model_options.h"
#include "services/cli/model_sizes.h"
#include "services/cli/output.h"
#include "services/cli/plan_capacity.h"
#include "services/cli/plan_manifests.h"
#include "services/cli/role_options.h"
#include "services/cli/terminal.h"

namespace catena::cli {
namespace {

constexpr int kShareCells = 20;

struct PlanFlags {
  ModelOptions model;
  int stages = 0;
  bool json = false;
  std::string format;         // "kustomize", or "" for the table
  WorkloadOptions workloads;  // of it
  CapacityOptions capacity;
};

struct StageShare {
  std::string role, layers;
  int64_t blocks = 0;
  int64_t bytes = 0;       // in the files, held by the stage
  int64_t read_bytes = 0;  // a token reads: weights of the blocks; of the embedding one row
};

std::vector<StageShare> Shares(const ModelConfig& c, const ModelSizes& s,
                               const std::vector<LayerRange>& ranges) {
  std::vector<StageShare> shares;
  for (const LayerRange& r : ranges) {
    StageShare share{
        .role = "shard", .layers = fmt::format("{}-{}", r.begin, r.end), .blocks = r.size()};
    share.read_bytes = s.block.stored * r.size();
    share.bytes = share.read_bytes;
    if (r.begin == 0) {
      share.bytes += s.embedding.stored;
      share.read_bytes += s.embedding.stored / c.vocab_size;
    }
    shares.push_back(share);
  }
  shares.push_back(
      {.role = "head", .layers = "", .bytes = s.head.stored, .read_bytes = s.head.stored});
  return shares;
}

std::string Table(const std::vector<StageShare>& shares) {
  int64_t largest = 1;
  for (const StageShare& s : shares) largest = std::max(largest, s.read_bytes);
  std::string t =
      fmt::format("{:<7}{:<10}{:>12}{:>16}\n", "role", "layers", "holds", "reads a token");
  for (const StageShare& s : shares) {
    t += fmt::format(
        "{:<7}{:<10}{:>12}{:>16}  {}\n", s.role, s.layers, HumanBytes(s.bytes),
        HumanBytes(s.read_bytes),
        Bar(static_cast<double>(s.read_bytes) / static_cast<double>(largest), kShareCells));
  }
  return t;
}

// The model's file or folder as pods see it.
std::string PathInPods(const std::string& model) {
  std::filesystem::path path = std::filesystem::absolute(model).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return "/weights/" + path.filename().string();
}

// Whole MiB.
int64_t JournalBytes(const StageShare& s, const ModelConfig& c, int64_t kv_bytes) {
  constexpr int64_t kMiB = int64_t{1} << 20;
  if (s.blocks == 0) return 0;
  const int64_t positions = kv_bytes / (s.blocks * KvBytesPerToken(c));
  const int64_t row_bytes = RowBytes(DType::kF32, c.hidden_size);
  return (DefaultJournalBytes(kv_bytes, positions, row_bytes) + kMiB - 1) / kMiB * kMiB;
}

absl::StatusOr<std::string> Manifests(const PlanFlags& o, const ModelConfig& model,
                                      const std::vector<StageShare>& shares) {
  WorkloadOptions w = o.workloads;
  CATENA_ASSIGN_OR_RETURN(w.kv_bytes, ParseBytes("--kv-memory", w.kv_memory));
  if (w.model_path.empty()) w.model_path = PathInPods(o.model.model);
  std::vector<PlannedStage> stages;
  for (const StageShare& s : shares) {
    stages.push_back({.layers = s.layers,
                      .weight_bytes = s.bytes,
                      .journal_bytes = JournalBytes(s, model, w.kv_bytes)});
  }
  const std::string command = fmt::format(
      "catena plan MODEL --stages {} --format kustomize --model-path {} --replicas {} --threads {} "
      "--gpus-per-replica {} --kv-memory {}",
      o.stages, w.model_path, w.replicas, w.threads, w.gpus, w.kv_memory);
  return StageManifests(stages, w, command);
}

absl::Status RunPlan(const PlanFlags& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModelShapes(o.model));
  const ModelConfig& c = model.config();
  CATENA_ASSIGN_OR_RETURN(const ModelSizes sizes, MeasureModel(*model.checkpoint));
  if (o.capacity.gpus > 0) return WriteCapacity(o.capacity, c, sizes, o.stages, o.json);
  CATENA_ASSIGN_OR_RETURN(
      const std::vector<LayerRange> ranges,
      BalancedCuts(c.n_layers, o.stages,
                   {.block = static_cast<double>(sizes.block.stored),
                    .embedding = static_cast<double>(sizes.embedding.stored) / c.vocab_size}));
  const std::vector<StageShare> shares = Shares(c, sizes, ranges);
  if (!o.format.empty()) {
    CATENA_ASSIGN_OR_RETURN(const std::string manifests, Manifests(o, c, shares));
    return Write(manifests);
  }
  std::string flag;
  for (const LayerRange& r : ranges) {
    flag += fmt::format("{}{}-{}", flag.empty() ? "" : ",", r.begin, r.end);
  }
  if (!o.json) return Write(fmt::format("{}\n--layers {}\n", Table(shares), flag));
  nlohmann::ordered_json stages = nlohmann::json::array();
  for (const StageShare& s : shares) {
    stages.push_back({{"role", s.role},
                      {"layers", s.layers},
                      {"bytes", s.bytes},
                      {"read_bytes_per_token", s.read_bytes}});
  }
  return WriteJson({{"layers", flag}, {"stages", stages}});
}

void DeclareWorkloads(App& app, Option format, WorkloadOptions* o) {
  constexpr char kGroup[] = "With --format kustomize";
  o->kv_memory = "2GiB";
  app.AddOption("--model-path", &o->model_path,
                "Where pods find the model (default: /weights/ and its name)")
      .Needs(format)
      .Group(kGroup);
  app.AddOption("--replicas", &o->replicas, "Of each stage (default 1)")
      .Range(0, 1000)
      .Needs(format)
      .Group(kGroup);
  app.AddOption("--threads", &o->threads, "Of a replica, each with a core (default 2)")
      .Range(1, 1024)
      .Needs(format)
      .Group(kGroup);
  app.AddOption("--gpus-per-replica", &o->gpus, "Of a replica (default 0)")
      .Range(0, 64)
      .Needs(format)
      .Group(kGroup);
  app.AddOption("--kv-memory", &o->kv_memory, "Of a shard's KV cache (default 2GiB)")
      .Check(CheckBytes)
      .Needs(format)
      .Group(kGroup);
}

}  // namespace

Action DeclarePlan(App& app) {
  auto o = std::make_shared<PlanFlags>();
  o->model.Declare(app, "model,-m,--model");
  const Option stages =
      app.AddOption("--stages", &o->stages, "Shards; the head is a stage besides").Range(1, 10'000);
  app.AddFlag("--json", &o->json, "One JSON object");
  const Option format =
      app.AddOption("--format", &o->format, "kustomize: the stages as workloads of Kubernetes");
  format.OneOf({"kustomize"});
  const Option gpus = o->capacity.Declare(app);
  gpus.Excludes(format);
  app.RequireOneOf(stages, gpus, "--stages or --gpus");
  DeclareWorkloads(app, format, &o->workloads);
  return [o] { return RunPlan(*o); };
}

}  // namespace catena::cli
