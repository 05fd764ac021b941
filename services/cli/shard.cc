// catena shard: a run of decoder blocks with their KV cache, as a process of a cluster.
#include "runtime/actor/stage_actor.h"
#include "services/cli/stage_process.h"

namespace catena::cli {
namespace {

struct ShardOptions {
  StageOptionsOfRole common;
  std::string layers;
  std::string kv_memory;
  std::string journal_memory;
  int batch = 512;
  std::vector<std::string> next;
};

absl::StatusOr<StageOptions> ToStageOptions(const ShardOptions& o, const StageModel& m) {
  const ModelConfig& config = m.model.config();
  const DType kv_dtype = o.common.compute.KvDType();
  CATENA_ASSIGN_OR_RETURN(const LayerRange layers, ParseLayerRange(o.layers, config.n_layers));
  return StageOptions{
      .layers = layers, .max_rows = o.batch, .max_positions = m.context, .kv_dtype = kv_dtype};
}

absl::Status RunShard(const ShardOptions& o) {
  StopSignals stop;
  CATENA_RETURN_IF_ERROR(InitLog(o.common.role.Log("shard")));
  CATENA_ASSIGN_OR_RETURN(RoleTelemetry telemetry, RoleTelemetry::Start(o.common.role, "shard"));
  CATENA_ASSIGN_OR_RETURN(const StageModel m, OpenStageModel(o.common));
  StageActorOptions options{.backend = o.common.compute.backend,
                            .compute = o.common.compute.ForBackend(),
                            .stage = {},
                            .kv_bytes = DefaultKvBytes(),
                            .journal_bytes = std::nullopt,
                            .detection = o.common.detection.limits};
  CATENA_ASSIGN_OR_RETURN(options.stage, ToStageOptions(o, m));
  if (!o.kv_memory.empty()) {
    CATENA_ASSIGN_OR_RETURN(options.kv_bytes, ParseBytes("--kv-memory", o.kv_memory));
  }
  if (!o.journal_memory.empty()) {
    CATENA_ASSIGN_OR_RETURN(options.journal_bytes,
                            ParseBytes("--journal-memory", o.journal_memory));
  }
  CATENA_ASSIGN_OR_RETURN(const auto actor, StageActor::Load(*m.model.checkpoint, options));
  spdlog::info("blocks [{}, {}), {} KV pages of {} positions", options.stage.layers.begin,
               options.stage.layers.end, actor->load().kv_pages, kPagePositions);
  return ServeStage(o.common, Role::kShard, options.stage.layers, m.info, o.next, &telemetry, &stop,
                    actor.get());
}

}  // namespace

Action DeclareShard(App& app) {
  auto o = std::make_shared<ShardOptions>();
  o->common.Declare(app);
  app.AddOption("--layers", &o->layers, "Its blocks, half-open: 0-16 (default: all)");
  app.AddOption("--kv-memory", &o->kv_memory,
                "Of the KV cache, as 2GiB (default: a quarter of the machine's)")
      .Check(CheckBytes);
  app.AddOption(
         "--journal-memory", &o->journal_memory,
         "Of rows kept to send again (default: a row for each position of the KV cache, and at "
         "most its memory)")
      .Check(CheckBytes);
  app.AddOption("--batch", &o->batch, "Rows a batch may have (default 512)").Range(1, 65536);
  app.AddOption("--next", &o->next,
                "Where stages behind it are, and nowhere else: host:port (every address of the "
                "name) or unix:/path (default: on this machine, or whoever has a certificate)")
      .Delimiter(',')
      .Check(CheckListenAddress);
  return [o] { return RunShard(*o); };
}

}  // namespace catena::cli
