// The options that every role of a cluster has, and what they make.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "services/cli/detection_options.h"
#include "services/cli/model_options.h"
#include "services/common/credentials.h"
#include "services/common/log.h"
#include "services/common/process.h"

namespace catena::cli {

struct RoleOptions {
  std::string listen = "127.0.0.1:0";
  int ready_fd = -1, drain_fd = -1;
  std::string log_level = "info", log_format = "text";
  std::string http;  // where metrics and health are; "": nowhere
  TlsOptions tls;
  int32_t grace_s = 20;  // what runs may go on for so long when it is asked to stop

  void Declare(App& app);
  std::chrono::milliseconds grace() const { return std::chrono::seconds(grace_s); }
  LogOptions Log(const std::string& role) const;
};

// What ends a role when `catena drain` asks for it. REQUIRES: `stop` outlives it.
std::function<void()> BeginDrain(const RoleOptions& options, StopSignals* stop);

// After the grace, for the errors with which calls end to reach their callers.
inline constexpr std::chrono::milliseconds kLastWords{500};

// What a shard and a head have besides.
struct StageOptionsOfRole {
  ModelOptions model;
  std::string name;  // of the model, as clients ask for it
  int64_t context = 0;
  ComputeOptions compute;
  DetectionOptions detection;
  RoleOptions role;

  void Declare(App& app);
  // Positions that a sequence may have. INVALID_ARGUMENT where the model has fewer.
  absl::StatusOr<int64_t> Context(const ModelConfig& config) const;
};

// What is odd in a model's files, into the log.
void LogWarning(const std::string& line);

// Checks of options: an address to listen at, one that is host:port, an amount of bytes.
std::string CheckListenAddress(const std::string& text);
std::string CheckHttpAddress(const std::string& text);
std::string CheckBytes(const std::string& text);

// "512MiB", "2GiB", "1000000": bytes. INVALID_ARGUMENT that names the flag.
absl::StatusOr<int64_t> ParseBytes(std::string_view flag, std::string_view text);

// A quarter of the memory that this machine, or this container, has: the default of --kv-memory.
int64_t DefaultKvBytes();

}  // namespace catena::cli
