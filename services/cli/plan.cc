// catena plan: cuts of a model into stages whose largest share of the work of a token is least.
#include "runtime/stage/layer_range.h"
#include "services/cli/model_options.h"
#include "services/cli/model_sizes.h"
#include "services/cli/output.h"
#include "services/cli/terminal.h"

namespace catena::cli {
namespace {

constexpr int kShareCells = 20;

struct PlanOptions {
  ModelOptions model;
  int stages = 1;
  bool json = false;
};

struct StageShare {
  std::string role, layers;
  int64_t bytes = 0;       // in the files, held by the stage
  int64_t read_bytes = 0;  // a token reads: weights of the blocks; of the embedding one row
};

std::vector<StageShare> Shares(const ModelConfig& c, const ModelSizes& s,
                               const std::vector<LayerRange>& ranges) {
  std::vector<StageShare> shares;
  for (const LayerRange& r : ranges) {
    StageShare share{.role = "shard", .layers = fmt::format("{}-{}", r.begin, r.end)};
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

absl::Status RunPlan(const PlanOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModelShapes(o.model));
  const ModelConfig& c = model.config();
  CATENA_ASSIGN_OR_RETURN(const ModelSizes sizes, MeasureModel(*model.checkpoint));
  CATENA_ASSIGN_OR_RETURN(
      const std::vector<LayerRange> ranges,
      BalancedCuts(c.n_layers, o.stages,
                   {.block = static_cast<double>(sizes.block.stored),
                    .embedding = static_cast<double>(sizes.embedding.stored) / c.vocab_size}));
  const std::vector<StageShare> shares = Shares(c, sizes, ranges);
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

}  // namespace

Action DeclarePlan(App& app) {
  auto o = std::make_shared<PlanOptions>();
  o->model.Declare(app, "model,-m,--model");
  app.AddOption("--stages", &o->stages, "Shards; the head is a stage besides").Required();
  app.AddFlag("--json", &o->json, "One JSON object");
  return [o] { return RunPlan(*o); };
}

}  // namespace catena::cli
