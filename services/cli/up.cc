// catena up: a local cluster, each role a process, watched over until Ctrl-C.
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include <sys/signalfd.h>
#include <unistd.h>

#include "services/cli/model_sizes.h"
#include "services/cli/role_options.h"
#include "services/cli/up_console.h"
#include "services/up/cluster.h"

namespace catena::cli {
namespace {

// Of a process, apart from the grace of what runs.
constexpr std::chrono::milliseconds kStopTime{1'500};

struct UpOptions {
  ModelOptions model;
  int stages = 2;
  std::string layers;
  std::vector<std::string> replicas;
  std::vector<int32_t> devices;
  std::string listen = "127.0.0.1:0";
  bool json = false;
  // Two phases of stopping, and what is left of the 10 s that `up` may take.
  static constexpr int32_t kMaxGraceSeconds = 3;
  int32_t grace_s = 2;
  // Handed on to the roles as they are given.
  std::vector<std::string> role_flags, model_flags, stage_flags, gateway_flags;
  std::string kv_memory, journal_memory;
};

// Declares an option that is not understood here but handed on to roles.
Option HandOn(App& app, const std::string& name, const std::string& help,
              std::vector<std::string>* flags) {
  const auto hand_on = [flags, name](const std::string& value) {
    flags->insert(flags->end(), {name, value});
  };
  return app.AddOption(name, hand_on, help);
}

// A whole number from `least` to `most`, or null.
std::optional<int> ParseNumber(std::string_view text, int least, int most) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool read = error == std::errc() && end == text.data() + text.size();
  return read && least <= number && number <= most ? std::optional(number) : std::nullopt;
}

absl::Status ParseReplicas(const std::vector<std::string>& texts, up::ClusterOptions* cluster) {
  const int last = static_cast<int>(cluster->layers.size()) - 1;
  for (const std::string& text : texts) {
    const size_t equals = std::min(text.find('='), text.size());
    const std::string of = text.substr(0, equals);
    const auto stage = ParseNumber(of, 0, last);
    const bool is_known = stage || of == "head" || of == "tokenizer";
    const auto count = equals == text.size()
                           ? std::nullopt
                           : ParseNumber(text.substr(equals + 1), 1, up::kMaxReplicas);
    if (!is_known || !count) {
      return absl::InvalidArgumentError(
          fmt::format("--replicas {}: write STAGE=COUNT, a stage of 0 to {}, head or tokenizer, "
                      "and a count of 1 to {}",
                      text, last, up::kMaxReplicas));
    }
    (stage          ? cluster->replicas[*stage]
     : of == "head" ? cluster->heads
                    : cluster->tokenizers) = *count;
  }
  return absl::OkStatus();
}

// Of the KV cache's memory, what journals may take besides where nobody says (DefaultJournalBytes):
// most where a shard has few blocks.
double JournalShare(const UpOptions& o, const ModelConfig& c, const up::ClusterOptions& cluster) {
  if (!o.journal_memory.empty()) return 0;
  int blocks = c.n_layers;
  for (const LayerRange& r : cluster.layers) blocks = std::min(blocks, r.size());
  const auto row = static_cast<double>(RowBytes(DType::kF32, c.hidden_size));
  return std::min(1.0, row / static_cast<double>(blocks * KvBytesPerToken(c)));
}

// Of each shard. They are on one machine: all of them together get half of its memory, and none
// more than it would take alone.
absl::StatusOr<int64_t> KvBytes(const UpOptions& o, const ModelConfig& c,
                                const up::ClusterOptions& cluster) {
  if (!o.kv_memory.empty()) return ParseBytes("--kv-memory", o.kv_memory);
  const int64_t alone = DefaultKvBytes();
  const auto share = static_cast<double>(std::min(alone, 2 * alone / up::ShardCount(cluster)));
  return static_cast<int64_t>(share / (1 + JournalShare(o, c, cluster)));
}

absl::StatusOr<up::ClusterOptions> Cluster(const UpOptions& o) {
  // A model that cannot be opened is told here, once, and not by each role.
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModel(o.model));
  up::ClusterOptions cluster;
  cluster.listen = o.listen;
  cluster.role_flags = o.role_flags;
  cluster.role_flags.insert(cluster.role_flags.end(), {"--grace", fmt::format("{}", o.grace_s)});
  cluster.stage_flags = o.stage_flags;
  cluster.devices = o.devices;
  cluster.gateway_flags = o.gateway_flags;
  if (!o.model.chat_template.empty()) {
    CATENA_RETURN_IF_ERROR(OpenChatTemplate(model, o.model).status());
    cluster.tokenizer_flags = {"--chat-template", o.model.chat_template};
  }
  const int n_layers = model.config().n_layers;
  if (o.layers.empty()) {
    CATENA_ASSIGN_OR_RETURN(cluster.layers, BalancedCuts(n_layers, o.stages, {}));
  } else {
    CATENA_ASSIGN_OR_RETURN(cluster.layers, ParseLayers(o.layers, n_layers));
  }
  CATENA_RETURN_IF_ERROR(ParseReplicas(o.replicas, &cluster));
  CATENA_ASSIGN_OR_RETURN(const int64_t kv_bytes, KvBytes(o, model.config(), cluster));
  cluster.shard_flags = {"--kv-memory", fmt::format("{}", kv_bytes)};
  if (!o.journal_memory.empty()) {
    cluster.shard_flags.insert(cluster.shard_flags.end(), {"--journal-memory", o.journal_memory});
  }
  std::error_code error;
  cluster.program = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (error) return absl::InternalError("the path of this program is unknown: is /proc mounted?");
  auto& flags = cluster.model_flags = o.model_flags;
  flags.insert(flags.end(), {"--model", o.model.model});
  if (!o.model.weights.empty()) flags.insert(flags.end(), {"--weights", o.model.weights});
  if (!o.model.weight_format.empty()) {
    flags.insert(flags.end(), {"--weight-format", o.model.weight_format});
  }
  return cluster;
}

// A descriptor that is readable where a signal asks us to end; those signals have no other effect
// from now on.
absl::StatusOr<up::Fd> StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now {};
    sigaction(signal, nullptr, &now);
    // nohup ignores SIGHUP, and means it; a shell ignores SIGINT for what it runs behind itself.
    if (signal != SIGHUP || now.sa_handler != SIG_IGN) sigaddset(&signals, signal);
  }
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  up::Fd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (fd.get() < 0) return absl::ResourceExhaustedError("signalfd: are there too many open files?");
  return fd;
}

bool HasJsonLog(const std::vector<std::string>& flags) {
  const auto format = std::find(flags.begin(), flags.end(), "--log-format");
  return format != flags.end() && *(format + 1) == "json";
}

absl::Status RunUp(const UpOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const up::ClusterOptions cluster, Cluster(o));
  CATENA_ASSIGN_OR_RETURN(const up::Fd stop, StopSignals());
  CATENA_ASSIGN_OR_RETURN(const up::SocketFolder folder, up::SocketFolder::Make());
  const std::vector<up::ClusterProcess> processes = PlanCluster(cluster, folder.path());
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const char* no_colour = std::getenv("NO_COLOR");
  UpConsole console(processes, {.terminal = terminal,
                                .colour = terminal && (no_colour == nullptr || *no_colour == '\0'),
                                .json = o.json,
                                .json_log = HasJsonLog(o.role_flags)});
  std::vector<up::ProcessSpec> specs;
  for (const up::ClusterProcess& p : processes) specs.push_back(p.spec);
  // A role may take its grace and a little for last words.
  const up::SupervisorOptions bounds{.stop_bound = std::chrono::seconds(o.grace_s) + kStopTime};
  up::Supervisor supervisor(std::move(specs), bounds, &console);
  CATENA_RETURN_IF_ERROR(supervisor.Run(stop.get()));
  return console.written();
}

void DeclareHandedOn(App& app, UpOptions* o) {
  HandOn(app, "--threads", "Threads of each shard and the head (default: all cores)",
         &o->stage_flags)
      .Range(1, 1024);
  HandOn(app, "--activations", kActivationsHelp, &o->stage_flags).OneOf(kActivations);
  HandOn(app, "--kv-dtype", "f16 (default) or f32", &o->stage_flags).OneOf({"f16", "f32"});
  HandOn(app, "--backend", "auto (default), " + BackendNames(), &o->stage_flags);
  HandOn(app, kCpuTarget, CpuTargetHelp(), &o->stage_flags);
  app.AddOption("--device", &o->devices,
                "The GPUs of --backend cuda, counted from 0, as 0,1,2: shards take one after "
                "another, the head the last (default 0)")
      .Delimiter(',')
      .Range(0, 1023);
  HandOn(app, "--context", "Positions a sequence may have (default: the model's)", &o->stage_flags);
  app.AddOption("--kv-memory", &o->kv_memory,
                "Of each shard's KV cache, as 2GiB (default: half of the machine's for all, with "
                "journals)")
      .Check(CheckBytes);
  app.AddOption("--journal-memory", &o->journal_memory,
                "Of the rows that each shard keeps to send again (default: a row for each position "
                "of its KV cache, and at most its memory)")
      .Check(CheckBytes);
  HandOn(app, "--name", "What clients call the model (default: its file's name)", &o->model_flags);
  HandOn(app, "--api-keys", "File of keys that clients need, one a line", &o->gateway_flags);
  HandOn(app, "--operator-keys", "File of the keys that `status`, `debug` and `drain` need",
         &o->gateway_flags);
  HandOn(app, "--log-level", "trace, debug, info (default), warn, error or off", &o->role_flags);
  DeclareDetection(app, [o](DetectionUser user, const std::string& flag, const std::string& value) {
    if (user != DetectionUser::kStage) {
      o->gateway_flags.insert(o->gateway_flags.end(), {flag, value});
    }
    if (user != DetectionUser::kGateway) {
      o->stage_flags.insert(o->stage_flags.end(), {flag, value});
    }
  });
  HandOn(app, "--log-format", "text (default) or json, one object a line", &o->role_flags)
      .OneOf({"text", "json"});
  const char* tls = "TLS, of all roles";
  HandOn(app, "--tls-cert", "PEM file: their certificate", &o->role_flags).Group(tls);
  HandOn(app, "--tls-key", "PEM file: its key", &o->role_flags).Group(tls);
  HandOn(app, "--tls-ca", "PEM file: the authority it is of", &o->role_flags).Group(tls);
}

}  // namespace

Action DeclareUp(App& app) {
  auto o = std::make_shared<UpOptions>();
  o->model.Declare(app);
  o->model.DeclareChatTemplate(app);
  const Option by_count =
      app.AddOption("--stages", &o->stages, "Shards (default 2); a head is added");
  app.AddOption("--layers", &o->layers, "The shards by their blocks, for example 0-16,16-30")
      .Excludes(by_count);
  app.AddOption(
         "--replicas", &o->replicas,
         "STAGE=COUNT: run so many of a shard, counted from 0, of the head or of the tokenizer")
      .Delimiter(',');
  app.AddOption("--listen", &o->listen, "Where the gateway serves (default 127.0.0.1:0: any port)")
      .Check(CheckListenAddress);
  app.AddOption("--grace", &o->grace_s,
                "Seconds that what runs may go on when a role is stopped (default 2)")
      .Range(0, UpOptions::kMaxGraceSeconds);
  app.AddFlag("--json", &o->json, "One JSON object on stdout once all serve");
  DeclareHandedOn(app, o.get());
  return [o] { return RunUp(*o); };
}

}  // namespace catena::cli
