// catena tokenizer: text to ids and back, as a process of a cluster.
#include <spdlog/spdlog.h>

#include "services/cli/role_options.h"
#include "services/cli/role_telemetry.h"
#include "services/common/drain_service.h"
#include "services/common/log.h"
#include "services/common/process.h"
#include "services/common/request_limits.h"
#include "services/common/server.h"
#include "services/tokenizer/tokenizer_service.h"

namespace catena::cli {
namespace {

struct TokenizerOptions {
  ModelOptions model;
  std::string name;
  int threads = 2;
  RoleOptions role;
};

absl::Status RunTokenizer(const TokenizerOptions& o) {
  StopSignals stop;
  CATENA_RETURN_IF_ERROR(InitLog(o.role.Log("tokenizer")));
  CATENA_ASSIGN_OR_RETURN(RoleTelemetry telemetry, RoleTelemetry::Start(o.role, "tokenizer"));
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModel(o.model, LogWarning));
  CATENA_ASSIGN_OR_RETURN(const std::string fingerprint, ModelFingerprint(model, o.model));
  CATENA_ASSIGN_OR_RETURN(const auto credentials, MakeServerCredentials(o.role.tls));
  ReplicaInfo info = DescribeProcess(Role::kTokenizer, o.role.listen, NewIncarnation());
  info.model = DescribeModel(o.name, o.model.model, fingerprint, model.config(),
                             model.config().context_length);
  info.metrics = telemetry.address();
  std::atomic<bool> draining = false;
  WorkerPool pool(static_cast<size_t>(o.threads));
  MessageGuard guard({.all = limits::kMaxInternalUnfinishedBytes});
  const auto describe = [&info, &draining] {
    ReplicaInfo now = info;
    now.draining = draining;
    return now;
  };
  TokenizerServiceOptions options{.tokenizer = model.tokenizer,
                                  .chat = std::nullopt,
                                  .no_chat = absl::OkStatus(),
                                  .generation = model.generation,
                                  .describe = describe,
                                  .pool = &pool,
                                  .guard = &guard};
  if (auto chat = OpenChatTemplate(model, o.model); chat.ok()) {
    options.chat = *std::move(chat);
  } else {
    options.no_chat = chat.status();
  }
  TokenizerServiceImpl service(std::move(options));
  const auto collected = telemetry.port().Add([&](Exposition& page) {
    service.Collect(page);
    page.Gauge("catena_tokenizer_queued", "Texts that wait for a thread.",
               static_cast<double>(pool.queued()));
  });
  Drain drain(BeginDrain(o.role, &stop));
  DrainServiceImpl drain_service(&drain, describe, &guard);
  CATENA_ASSIGN_OR_RETURN(
      const auto server,
      Server::Start({.listen = o.role.listen,
                     .credentials = credentials,
                     .services = {{v1::TokenizerService::service_full_name(), &service},
                                  {v1::DrainService::service_full_name(), &drain_service}},
                     .max_receive_bytes = limits::kMaxPublicMessageBytes,
                     .guard = &guard}));
  info.replica.address = server->address();
  server->SetServing(true);
  spdlog::info("serving {} at {}", info.model.name, server->address());
  telemetry.port().SetReady(absl::OkStatus());
  const absl::Status reported =
      ReportReady(o.role.ready_fd, server->address(), telemetry.address());
  if (reported.ok()) stop.Wait();
  spdlog::info("stopping; {} streams have {} s", service.streams(), o.role.grace_s);
  draining = true;
  telemetry.port().SetReady(absl::UnavailableError("it is stopping"));
  server->SetServing(false);
  int64_t left = 0;
  const auto none = [&] {
    drain.Tell(left = service.streams() + static_cast<int64_t>(pool.queued()));
    return left == 0;
  };
  stop.WaitUntil(none, o.role.grace());
  drain.End(left);
  server->Shutdown(kLastWords);
  pool.Stop();
  return reported;
}

}  // namespace

Action DeclareTokenizer(App& app) {
  auto o = std::make_shared<TokenizerOptions>();
  o->model.Declare(app);
  o->model.DeclareChatTemplate(app);
  app.AddOption("--name", &o->name, "What clients call the model (default: its file's name)");
  app.AddOption("--threads", &o->threads, "Threads that turn text into ids (default 2)")
      .Range(1, 64);
  o->role.Declare(app);
  return [o] { return RunTokenizer(*o); };
}

}  // namespace catena::cli
