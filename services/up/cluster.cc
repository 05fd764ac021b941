#include "services/up/cluster.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <sys/un.h>

namespace catena::up {
namespace {

constexpr int kGatewayPhase = 0, kOthersPhase = 1;
// Of every process's metrics and health: for this machine alone, whoever may ask for text.
constexpr char kHttp[] = "127.0.0.1:0";
constexpr size_t kMaxSocketName = 32;  // of a file in the folder

using Strings = std::vector<std::string>;

void Append(Strings* to, const Strings& from) { to->insert(to->end(), from.begin(), from.end()); }

int Replicas(const ClusterOptions& options, int stage) {
  const auto it = options.replicas.find(stage);
  return it == options.replicas.end() ? 1 : it->second;
}

class Planner {
 public:
  Planner(const ClusterOptions& options, const std::string& folder)
      : options_(options), folder_(folder) {}

  // An internal role; its first words after `catena` are the role and what is in `flags`.
  ClusterProcess Internal(const std::string& role, const std::string& serves,
                          const std::string& name, const std::vector<const Strings*>& flags) {
    ClusterProcess p;
    p.role = role;
    p.spec.name = name;
    p.spec.serves = serves;
    p.spec.argv = {options_.program, role};
    for (const Strings* f : flags) Append(&p.spec.argv, *f);
    Append(&p.spec.argv, options_.role_flags);
    p.spec.listen = Socket(name);
    p.spec.http = kHttp;
    p.spec.stop_phase = kOthersPhase;
    return p;
  }

  ClusterProcess Tokenizer(int replica) {
    return Internal("tokenizer", "tokenizer",
                    ReplicaName("tokenizer", replica, options_.tokenizers),
                    {&options_.model_flags, &options_.tokenizer_flags});
  }

  ClusterProcess Shard(int stage, int replica) {
    const LayerRange r = options_.layers[stage];
    const std::string name = ShardName(stage, replica);
    const Strings own = {"--layers", fmt::format("{}-{}", r.begin, r.end), "--next", Next(stage)};
    const Strings device = Device(shards_++);
    ClusterProcess p = Internal(
        "shard", StageName(stage), name,
        {&options_.model_flags, &own, &options_.stage_flags, &device, &options_.shard_flags});
    p.layers = r;
    return p;
  }

  ClusterProcess Head(int replica) {
    const Strings device = Device(options_.devices.size() - 1);
    return Internal("head", "head", HeadName(replica),
                    {&options_.model_flags, &options_.stage_flags, &device});
  }

  // Of `others`, the flags that say where they are.
  ClusterProcess Gateway(const std::vector<ClusterProcess>& others) {
    ClusterProcess p;
    p.role = p.spec.name = "gateway";
    p.spec.argv = {options_.program, "gateway"};
    for (const ClusterProcess& o : others) {
      Append(&p.spec.argv, {"--" + o.role, o.spec.listen});
    }
    Append(&p.spec.argv, options_.gateway_flags);
    Append(&p.spec.argv, options_.role_flags);
    p.spec.listen = options_.listen;
    p.spec.http = kHttp;
    p.spec.stop_phase = kGatewayPhase;
    return p;
  }

 private:
  static std::string ReplicaName(const std::string& name, int replica, int replicas) {
    return replicas == 1 ? name : fmt::format("{}.{}", name, replica);
  }

  Strings Device(size_t number) const {
    if (options_.devices.empty()) return {};
    const int32_t device = options_.devices[number % options_.devices.size()];
    return {"--device", fmt::format("{}", device)};
  }

  static std::string StageName(int stage) { return fmt::format("shard {}", stage); }

  std::string ShardName(int stage, int replica) const {
    return ReplicaName(StageName(stage), replica, Replicas(options_, stage));
  }

  std::string HeadName(int replica) const { return ReplicaName("head", replica, options_.heads); }

  std::string Socket(const std::string& name) const {
    std::string file = name;
    for (char& c : file) c = c == ' ' ? '-' : c;
    return fmt::format("unix:{}/{}", folder_, file);
  }

  // Whom the shards of a stage send rows: all replicas of the next one, or of the head.
  std::string Next(int stage) const {
    const int next = stage + 1;
    const bool is_last = next == static_cast<int>(options_.layers.size());
    const int replicas = is_last ? options_.heads : Replicas(options_, next);
    Strings sockets;
    for (int r = 0; r < replicas; ++r) {
      sockets.push_back(Socket(is_last ? HeadName(r) : ShardName(next, r)));
    }
    return fmt::format("{}", fmt::join(sockets, ","));
  }

  const ClusterOptions& options_;
  const std::string& folder_;
  size_t shards_ = 0;  // that were planned
};

}  // namespace

int ShardCount(const ClusterOptions& options) {
  int count = 0;
  for (int stage = 0; stage < static_cast<int>(options.layers.size()); ++stage) {
    count += Replicas(options, stage);
  }
  return count;
}

std::vector<ClusterProcess> PlanCluster(const ClusterOptions& options, const std::string& folder) {
  Planner planner(options, folder);
  std::vector<ClusterProcess> all;
  for (int r = 0; r < options.tokenizers; ++r) all.push_back(planner.Tokenizer(r));
  for (int stage = 0; stage < static_cast<int>(options.layers.size()); ++stage) {
    for (int r = 0; r < Replicas(options, stage); ++r) all.push_back(planner.Shard(stage, r));
  }
  for (int r = 0; r < options.heads; ++r) all.push_back(planner.Head(r));
  all.insert(all.begin(), planner.Gateway(all));
  return all;
}

absl::StatusOr<SocketFolder> SocketFolder::Make() {
  std::error_code error;
  std::string path = (std::filesystem::temp_directory_path(error) / "catena-up-XXXXXX").string();
  if (error) {
    return absl::FailedPreconditionError(
        fmt::format("no folder for sockets: {}; set TMPDIR", error.message()));
  }
  if (path.size() + 1 + kMaxSocketName >= sizeof(sockaddr_un::sun_path)) {
    return absl::FailedPreconditionError(
        fmt::format("{} is too long for sockets; set TMPDIR to a shorter path", Quoted(path)));
  }
  if (mkdtemp(path.data()) == nullptr) {
    return absl::FailedPreconditionError(
        fmt::format("{} cannot be made: {}; set TMPDIR", Quoted(path), strerror(errno)));
  }
  return SocketFolder(std::move(path));
}

SocketFolder::~SocketFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace catena::up
