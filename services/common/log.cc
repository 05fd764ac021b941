#include "services/common/log.h"

#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace catena {
namespace {

// What gRPC calls an error is mostly a peer that is not there, which our own lines say better; but
// the last words of the process must be heard.
void LogOfGrpc(gpr_log_func_args* args) {
  if (std::string_view(args->message).starts_with("assertion failed")) {
    return spdlog::critical("grpc: {}", args->message);
  }
  const auto level =
      args->severity == GPR_LOG_SEVERITY_ERROR ? spdlog::level::debug : spdlog::level::trace;
  spdlog::log(level, "grpc: {}", args->message);
}

}  // namespace

absl::Status InitLog(std::string_view role, const std::string& level) {
  const spdlog::level::level_enum wanted = spdlog::level::from_str(level);
  if (wanted == spdlog::level::off && level != "off") {
    return absl::InvalidArgumentError(fmt::format(
        "the log level is {}: it must be trace, debug, info, warn, error or off", Quoted(level)));
  }
  auto logger = spdlog::get("catena");
  if (logger == nullptr) logger = spdlog::stderr_logger_mt("catena");
  logger->set_pattern(fmt::format("%Y-%m-%dT%H:%M:%S.%e %l {}: %v", role));
  logger->set_level(wanted);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  gpr_set_log_function(LogOfGrpc);
  return absl::OkStatus();
}

}  // namespace catena
