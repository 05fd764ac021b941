// Which processes a local cluster has, and how each is called.
//
// The replicas of the tokenizer, of each shard and of the head listen on unix sockets in a folder
// of ours, so that their addresses outlive them; the gateway listens where its clients are told.
//
// Thread rules: plain values and a pure function; a SocketFolder belongs to one thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/stage/layer_range.h"
#include "services/up/supervisor.h"

namespace catena::up {

inline constexpr int kMaxReplicas = 64;  // of one stage

struct ClusterOptions {
  std::string program;             // the path of `catena`
  std::vector<LayerRange> layers;  // one a stage
  std::map<int, int> replicas;     // of a stage; 1 where absent
  int heads = 1, tokenizers = 1;   // replicas of these
  // GPUs, of which shards take one after another, and a head the last; none: nothing is said.
  std::vector<int32_t> devices;
  std::string listen;  // the gateway's: host:port
  // Flags that are handed on, after the role's own.
  std::vector<std::string> role_flags;   // of all
  std::vector<std::string> model_flags;  // of all that open the model
  std::vector<std::string> stage_flags;  // of shards and head
  std::vector<std::string> shard_flags;
  std::vector<std::string> gateway_flags;
  std::vector<std::string> tokenizer_flags;
};

// All replicas of all stages.
int ShardCount(const ClusterOptions& options);

struct ClusterProcess {
  std::string role;                  // the command: "shard"
  std::optional<LayerRange> layers;  // a shard's
  ProcessSpec spec;
};

// In the order of data: gateway, tokenizer, shards, head. `folder`: where sockets go. The gateway
// stops before the others, so that it ends its streams while they can still answer.
// REQUIRES: replicas name stages of `layers`; numbers of replicas are in [1, kMaxReplicas].
std::vector<ClusterProcess> PlanCluster(const ClusterOptions& options, const std::string& folder);

// A new folder that only this user may enter; removed, with what is in it, at the end.
class SocketFolder {
 public:
  static absl::StatusOr<SocketFolder> Make();
  SocketFolder(SocketFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  SocketFolder& operator=(SocketFolder&&) = delete;
  ~SocketFolder();
  const std::string& path() const { return path_; }

 private:
  explicit SocketFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;  // "": none
};

}  // namespace catena::up
