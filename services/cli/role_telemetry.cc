#include "services/cli/role_telemetry.h"

#include <utility>

#include <spdlog/spdlog.h>

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
                               Nanoseconds no_progress, const GrpcTransport* transport)
    : metrics_(look), stall_([look] { return look().load; }, no_progress) {
  collected_ = port->Add([this](Exposition& page) { metrics_.Collect(page); });
  hops_ = port->Add([transport](Exposition& page) {
    page.Family(
        "catena_hop_seconds", Exposition::kHistogram,
        "From the queue of the stage before to here, by lane; as exact as the clocks of two "
        "machines agree.");
    const auto hops = transport->hop_latency();
    page.Sample(hops[static_cast<size_t>(Lane::kDecode)], {{"lane", "decode"}});
    page.Sample(hops[static_cast<size_t>(Lane::kBulk)], {{"lane", "bulk"}});
    page.Counter(
        "catena_link_altered_frames_total",
        "Frames between processes with other bits than were sent: a broken link or machine.",
        static_cast<double>(transport->altered_frames()));
  });
  checked_ = port->AddCheck([this] { return stall_(); });
}

void LogRowFaults::operator()(const RowFaults& seen) {
  const auto held_back = limit_->Take();
  if (!held_back) return;
  const RowFault& last = seen.last;
  std::string what = fmt::format("were kept, and changed, {} times here so far", seen.kept_corrupt);
  if (last.kind == RowFault::Kind::kCameTwice) {
    what = fmt::format("came from {:x} twice with other bits, {} times here so far", last.from,
                       seen.came_twice);
  } else if (last.kind == RowFault::Kind::kCameCorrupt) {
    what = fmt::format("came from {:x} with other bits than were sent, {} times here so far",
                       last.from, seen.came_corrupt);
  }
  spdlog::error(
      "sequence {}: rows of positions [{}, {}) {}; a machine or a link is broken, or this is a bug "
      "(inside the cluster it is {}; {} such lines were held back)",
      ToString(last.sequence), last.begin, last.end, what, ToString(last.key), *held_back);
}

}  // namespace catena::cli
