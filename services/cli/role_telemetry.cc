#include "services/cli/role_telemetry.h"

#include <utility>

#include <spdlog/spdlog.h>

#include "runtime/chain/limits.h"
#include "services/common/process.h"
#include "services/telemetry/process_metrics.h"

namespace catena::cli {

absl::StatusOr<RoleTelemetry> RoleTelemetry::Start(const RoleOptions& options,
                                                   const std::string& role) {
  RoleTelemetry out;
  CATENA_ASSIGN_OR_RETURN(out.port_, OperatorPort::Start({.listen = options.http}));
  out.process_ =
      out.port_->Add([role](Exposition& page) { AddProcessMetrics(role, ReleaseVersion(), page); });
  return out;
}

StageTelemetry::StageTelemetry(OperatorPort* port, std::function<StageSnapshot()> look,
                               const GrpcTransport* transport)
    : metrics_(look),
      stall_([look] { return look().load; }, limits::DetectionLimits().no_progress) {
  collected_ = port->Add([this](Exposition& page) { metrics_.Collect(page); });
  hops_ = port->Add([transport](Exposition& page) {
    page.Family(
        "catena_hop_seconds", Exposition::kHistogram,
        "From the queue of the stage before to here, by lane; as exact as the clocks of two "
        "machines agree.");
    const auto hops = transport->hop_latency();
    page.Sample(hops[static_cast<size_t>(Lane::kDecode)], {{"lane", "decode"}});
    page.Sample(hops[static_cast<size_t>(Lane::kBulk)], {{"lane", "bulk"}});
  });
  checked_ = port->AddCheck([this] { return stall_(); });
}

void LogDivergences::operator()(const SequenceKey& sequence) {
  ++held_back_;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kEvery;
  spdlog::error(
      "sequence {}: steps came twice with other bits, {} times since the last such line; a machine "
      "is broken, or this is a bug",
      ToString(sequence), std::exchange(held_back_, 0));
}

}  // namespace catena::cli
