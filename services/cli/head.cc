// catena head: the last norm, the LM head and the sampler, as a process of a cluster.
#include "runtime/actor/head_actor.h"
#include "services/cli/stage_process.h"

namespace catena::cli {
namespace {

struct HeadOptions {
  StageOptionsOfRole common;
  int batch = 64;
};

absl::Status RunHead(const HeadOptions& o) {
  StopSignals stop;
  CATENA_RETURN_IF_ERROR(InitLog(o.common.role.Log("head")));
  CATENA_ASSIGN_OR_RETURN(RoleTelemetry telemetry, RoleTelemetry::Start(o.common.role, "head"));
  CATENA_ASSIGN_OR_RETURN(const StageModel m, OpenStageModel(o.common));
  const HeadActorOptions options{.backend = o.common.compute.backend,
                                 .compute = o.common.compute.ForBackend(),
                                 .max_rows = o.batch,
                                 .max_positions = m.context,
                                 .detection = o.common.detection.limits};
  CATENA_ASSIGN_OR_RETURN(const auto actor, HeadActor::Load(*m.model.checkpoint, options));
  return ServeStage(o.common, Role::kHead, {}, m.info, {}, &telemetry, &stop, actor.get());
}

}  // namespace

Action DeclareHead(App& app) {
  auto o = std::make_shared<HeadOptions>();
  o->common.Declare(app);
  app.AddOption("--batch", &o->batch, "Rows a batch may have (default 64)").Range(1, 4096);
  return [o] { return RunHead(*o); };
}

}  // namespace catena::cli
