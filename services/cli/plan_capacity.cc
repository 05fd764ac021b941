#include "services/cli/plan_capacity.h"

#include <fstream>

#include "services/cli/output.h"

namespace catena::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kHopValueBytes = 4;  // of a residual row: float32 on every backend
constexpr double kShareOfLink = 0.95;  // that frames and headers leave

ModelShape ShapeOf(const ModelConfig& c, const ModelSizes& s) {
  return {.n_layers = c.n_layers,
          .block_bytes = s.block.stored,
          .embedding_bytes = s.embedding.stored,
          .head_bytes = s.head.stored,
          .block_parameters = s.block.parameters,
          .head_parameters = s.head.parameters,
          .kv_bytes = s.kv_bytes_per_token,
          .row_bytes = c.hidden_size * kHopValueBytes};
}

// What `catena bench speed --json` wrote: the time of a batch of one row, and of each of many.
absl::StatusOr<MeasuredTimes> ReadBench(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(fmt::format("--bench {}: it cannot be read", path));
  const Json bench = Json::parse(file, nullptr, false);
  const auto number = [&](const char* key) {
    const bool has = bench.is_object() && bench.contains(key) && bench[key].is_number();
    return has ? bench[key].get<double>() : 0.0;
  };
  const double prefill = number("prefill_tokens_per_s"), decode = number("decode_tokens_per_s");
  if (prefill <= 0 || decode <= 0 || number("streams") != 1) {
    return absl::InvalidArgumentError(fmt::format(
        "--bench {}: it is not what `catena bench speed --streams 1 --json` writes", path));
  }
  return MeasuredTimes{.batch_s = 1 / decode, .row_s = 1 / prefill};
}

std::string Ms(double s) { return fmt::format("{:.1f} ms", s * 1e3); }
std::string Rate(double per_s) {
  return per_s < 10 ? fmt::format("{:.2f}", per_s) : fmt::format("{:.0f}", per_s);
}

// --- what a plan is made for and of ---

struct Planned {
  std::vector<ClusterPlan> plans;  // all that were looked at
  const ClusterPlan* best = nullptr;
  ServingLoad load;
  PlanOptions options;
};

absl::StatusOr<Planned> MakePlan(const CapacityOptions& o, const ModelShape& model, int shards) {
  Planned p;
  p.load = {.requests_per_s = o.qps, .input_tokens = o.input, .output_tokens = o.output};
  p.options = o.plan;
  CATENA_ASSIGN_OR_RETURN(p.options.gpu, FindGpu(o.gpu));
  if (!o.bench.empty()) {
    CATENA_ASSIGN_OR_RETURN(p.options.measured, ReadBench(o.bench));
  }
  p.options.hop_s = o.hop_us * 1e-6;
  p.options.link_bytes_per_s = o.link_gbit * 1e9 / 8 * kShareOfLink;
  if (shards > 0) {
    CATENA_ASSIGN_OR_RETURN(ClusterPlan plan,
                            PlanCluster(model, p.options, o.gpus, shards, p.load));
    p.plans.push_back(std::move(plan));
  } else {
    CATENA_ASSIGN_OR_RETURN(p.plans, PlanClusters(model, p.options, o.gpus, p.load));
  }
  p.best = &BestOf(p.plans, p.load);
  return p;
}

// Of the two that may lose most, a shard and a head, what costs more; nullopt where nothing is left
// of one.
std::optional<LossForecast> WorstLoss(const Planned& p, int lost) {
  std::optional<LossForecast> worst;
  for (const size_t stage : {p.best->cluster.shards() - 1, p.best->cluster.shards()}) {
    const std::optional<LossForecast> loss = ForecastLoss(p.best->cluster, p.load, stage, lost);
    if (!loss) return std::nullopt;
    if (!worst || loss->pause_most_s > worst->pause_most_s) worst = loss;
  }
  return worst;
}

// --- as a table ---

std::string WhatItIsFor(const CapacityOptions& o, const Planned& p) {
  const Gpu& gpu = p.options.gpu;
  const std::string times =
      p.options.measured
          ? fmt::format("Times as measured ({}), shared out by bytes.", o.bench)
          : fmt::format(
                "Times are computed, not measured: {:.0f} % of {:.2f} TB/s and {:.0f} % of "
                "{:.0f} TFLOP/s of the datasheet.",
                p.options.bandwidth_share * 100, gpu.bytes_per_s / 1e12,
                p.options.compute_share * 100, gpu.flops_per_s / 1e12);
  return fmt::format("{} × {} for {} requests/s of {} + {} tokens. {}\n\n", o.gpus, gpu.name,
                     Rate(o.qps), o.input, o.output, times);
}

std::string StageTable(const ClusterPlan& plan) {
  std::string t = fmt::format("{:<7}{:<9}{:>5}{:>12}{:>12}{:>14}", "role", "layers", "GPUs",
                              "weights", "KV cache", "KV positions");
  t += plan.forecast
           ? fmt::format("{:>10}{:>10}{:>7}{:>9}\n", "decodes", "batch", "busy", "KV used")
           : "\n";
  for (size_t i = 0; i < plan.stages.size(); ++i) {
    const PlannedReplica& r = plan.stages[i];
    const ServingStage& s = plan.cluster.stages[i];
    t += fmt::format("{:<7}{:<9}{:>5}{:>12}{:>12}{:>14}", r.layers ? "shard" : "head",
                     r.layers ? fmt::format("{}-{}", r.layers->begin, r.layers->end) : "",
                     s.replicas, HumanBytes(r.weight_bytes), r.layers ? HumanBytes(r.kv_bytes) : "",
                     r.layers ? fmt::format("{}", s.kv_positions) : "");
    if (plan.forecast) {
      const StageForecast& f = plan.forecast->stages[i];
      t += fmt::format("{:>10.1f}{:>10}{:>6.0f}%{:>9}", f.decode_rows, Ms(f.batch_s), 100 * f.busy,
                       r.layers ? fmt::format("{:.1f}%", 100 * f.kv_share) : "");
    }
    t += "\n";
  }
  return t + "\n";
}

std::string ForecastText(const Planned& p) {
  const ClusterPlan& plan = *p.best;
  std::string t;
  if (plan.forecast) {
    const Forecast& f = *plan.forecast;
    t +=
        fmt::format("first token      {:>10}   p99 {:>10}\neach token       {:>10}   p99 {:>10}\n",
                    Ms(f.first_token_s), Ms(f.first_token_p99_s), Ms(f.token_s), Ms(f.token_p99_s));
    t += fmt::format("throughput       {:>10} tokens/s, {:.0f} requests at a time\n",
                     Rate(f.tokens_per_s), f.sequences);
  } else {
    t += fmt::format("It cannot carry {} requests/s of these lengths.\n",
                     Rate(p.load.requests_per_s));
  }
  return t + fmt::format("at most          {:>10} requests/s, bounded by {}\n",
                         Rate(plan.most_requests), NameOf(plan.bound));
}

std::string LossText(const Planned& p, int lost) {
  if (!p.best->forecast) return "";
  const std::string what = lost == 1 ? "a GPU is lost" : fmt::format("{} GPUs lost", lost);
  const std::optional<LossForecast> loss = WorstLoss(p, lost);
  if (!loss) {
    return fmt::format("{:<17}nothing goes on until its stage has another: give it replicas\n",
                       what);
  }
  return fmt::format(
      "{:<17}{:.0f} requests pause for {} (mean) to {}; then at most {} requests/s\n", what,
      loss->sequences, Ms(loss->pause_mean_s), Ms(loss->pause_most_s), Rate(loss->most_requests));
}

std::string OthersTable(const Planned& p) {
  if (p.plans.size() < 2) return "";
  std::string t = fmt::format("\n{:<8}{:>9}{:>7}{:>14}{:>14}{:>12}\n", "--stages", "replicas",
                              "heads", "at most", "first token", "each token");
  for (const ClusterPlan& plan : p.plans) {
    const auto& stages = plan.cluster.stages;
    t += fmt::format("{:<8}{:>9}{:>7}{:>12}/s", plan.cluster.shards(), stages[0].replicas,
                     stages.back().replicas, Rate(plan.most_requests));
    t += plan.forecast ? fmt::format("{:>14}{:>12}", Ms(plan.forecast->first_token_s),
                                     Ms(plan.forecast->token_s))
                       : fmt::format("{:>14}{:>12}", "–", "–");
    t += &plan == p.best ? "  ◀\n" : "\n";
  }
  return t;
}

// --- as JSON ---

Json StageJson(const ClusterPlan& plan, size_t i) {
  const PlannedReplica& r = plan.stages[i];
  const ServingStage& s = plan.cluster.stages[i];
  Json json = {{"role", r.layers ? "shard" : "head"},
               {"layers", r.layers ? fmt::format("{}-{}", r.layers->begin, r.layers->end) : ""},
               {"replicas", s.replicas},
               {"weight_bytes", r.weight_bytes},
               {"kv_bytes", r.kv_bytes},
               {"kv_positions", s.kv_positions}};
  if (!plan.forecast) return json;
  const StageForecast& f = plan.forecast->stages[i];
  json["decode_rows"] = f.decode_rows;
  json["batch_s"] = f.batch_s;
  json["busy"] = f.busy;
  json["kv_share"] = f.kv_share;
  return json;
}

Json PlanJson(const CapacityOptions& o, const Planned& p) {
  const ClusterPlan& plan = *p.best;
  Json json = {{"gpus", o.gpus},
               {"gpu", p.options.gpu.name},
               {"measured", p.options.measured.has_value()},
               {"requests_per_s", o.qps},
               {"input_tokens", o.input},
               {"output_tokens", o.output},
               {"stages", Json::array()},
               {"most_requests_per_s", plan.most_requests},
               {"bounded_by", NameOf(plan.bound)},
               {"forecast", nullptr},
               {"loss", nullptr}};
  for (size_t i = 0; i < plan.stages.size(); ++i) json["stages"].push_back(StageJson(plan, i));
  if (!plan.forecast) return json;
  const Forecast& f = *plan.forecast;
  json["forecast"] = {{"first_token_s", f.first_token_s},
                      {"first_token_p99_s", f.first_token_p99_s},
                      {"token_s", f.token_s},
                      {"token_p99_s", f.token_p99_s},
                      {"tokens_per_s", f.tokens_per_s},
                      {"requests_at_a_time", f.sequences}};
  if (const std::optional<LossForecast> loss = WorstLoss(p, o.lost)) {
    json["loss"] = {{"gpus", o.lost},
                    {"requests", loss->sequences},
                    {"replayed_rows", loss->replayed_rows},
                    {"pause_mean_s", loss->pause_mean_s},
                    {"pause_most_s", loss->pause_most_s},
                    {"most_requests_per_s", loss->most_requests}};
  }
  return json;
}

}  // namespace

Option CapacityOptions::Declare(App& app) {
  constexpr char kGroup[] = "With --gpus: what a cluster carries";
  const Option asked =
      app.AddOption("--gpus", &gpus, "GPUs of the cluster: plans stages and replicas for a load")
          .Range(2, 100'000)
          .Group(kGroup);
  const auto add = [&](const char* name, const OptionTarget& target, const char* help) {
    return app.AddOption(name, target, help).Needs(asked).Group(kGroup);
  };
  std::string names;
  for (const Gpu& g : KnownGpus()) names += fmt::format("{}{}", names.empty() ? "" : ", ", g.name);
  app.AddOption("--gpu", &gpu, fmt::format("Their kind (default h100): {}", names))
      .Needs(asked)
      .Group(kGroup);
  add("--qps", &qps, "Requests a second (default 1)").Positive();
  add("--input", &input, "Tokens of a prompt (default 1000)").Range(1, 1 << 20);
  add("--output", &output, "Tokens of an answer (default 200)").Range(1, 1 << 20);
  add("--lost", &lost, "GPUs of a stage that are lost at once, to say what it costs (default 1)")
      .Range(1, 1000);
  add("--bench", &bench, "Measured times instead: what catena bench speed --json wrote there");
  add("--bandwidth-share", &plan.bandwidth_share, "Of the datasheet's (default 0.6)")
      .Share()
      .Positive();
  add("--compute-share", &plan.compute_share, "Of the datasheet's (default 0.4)")
      .Share()
      .Positive();
  add("--hop-us", &hop_us, "One way between two processes (default 150)").Positive();
  add("--link-gbit", &link_gbit, "Of a GPU's network (default 25)").Positive();
  return asked;
}

absl::Status WriteCapacity(const CapacityOptions& o, const ModelConfig& config,
                           const ModelSizes& sizes, int shards, bool json) {
  CATENA_ASSIGN_OR_RETURN(const Planned p, MakePlan(o, ShapeOf(config, sizes), shards));
  if (json) return WriteJson(PlanJson(o, p));
  return Write(WhatItIsFor(o, p) + StageTable(*p.best) + ForecastText(p) + LossText(p, o.lost) +
               OthersTable(p));
}

}  // namespace catena::cli
