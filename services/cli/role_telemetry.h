// The operators' port of a role as a process: what every role tells, and what stages do.
//
// Thread rules: the owner's thread.
#pragma once

#include <memory>

#include "services/cli/role_options.h"
#include "services/common/line_limit.h"
#include "services/link/grpc_transport.h"
#include "services/telemetry/operator_port.h"
#include "services/telemetry/stage_metrics.h"

namespace catena::cli {

// The port, where --http asks for one, with the metrics of the process. Before the model is loaded,
// so that a process that loads is seen to be alive.
class RoleTelemetry {
 public:
  static absl::StatusOr<RoleTelemetry> Start(const RoleOptions& options, const std::string& role);

  OperatorPort& port() { return *port_; }
  std::string address() const { return port_->address(); }

 private:
  std::unique_ptr<OperatorPort> port_;
  OperatorPort::Registration process_;
};

// What a shard or a head tells, until it goes: its counters, its hops, and whether it stands still.
// What it is given outlives it.
class StageTelemetry {
 public:
  // It counts as standing still after `no_progress`.
  StageTelemetry(OperatorPort* port, std::function<StageSnapshot()> look, Nanoseconds no_progress,
                 const GrpcTransport* transport);

 private:
  StageMetrics metrics_;
  StallCheck stall_;
  OperatorPort::Registration collected_, hops_, checked_;
};

// Says in the log that rows were not what they were, a line a round, though not for ever.
//
// Thread rules: the stage's thread.
class LogRowFaults {
 public:
  void operator()(const RowFaults& seen);

 private:
  std::shared_ptr<LineLimit> limit_ =
      std::make_shared<LineLimit>(10, std::chrono::seconds(10));  // shared: functions are copied
};

}  // namespace catena::cli
