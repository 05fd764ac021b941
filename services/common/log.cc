#include "services/common/log.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

#include <fmt/chrono.h>
#include <grpc/support/log.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

std::atomic<bool> json_lines = false;

// Marks a message whose source location carries facts, as members of a JSON object: spdlog hands it
// to the formatter beside the text, which may be anybody's.
constexpr char kFacts[] = "facts";

// Between the quotes of a JSON string.
std::string Escaped(std::string_view text) {
  std::string valid, out;
  AppendValidUtf8(text, &valid);
  for (const char c : valid) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < ' ' || c == 0x7F) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out;
}

// A word as it is, anything else in quotes.
std::string Worded(std::string_view text) {
  const auto plain = [](char c) {
    return c > ' ' && c < 0x7F && c != '"' && c != '\\' && c != '=';
  };
  const bool word = !text.empty() && std::all_of(text.begin(), text.end(), plain);
  return word ? std::string(text) : '"' + Escaped(text) + '"';
}

std::string ValueText(const LogFact& fact, bool json) {
  if (const auto* text = std::get_if<std::string_view>(&fact.value)) {
    return json ? '"' + Escaped(*text) + '"' : Worded(*text);
  }
  if (const auto* number = std::get_if<int64_t>(&fact.value)) return fmt::format("{}", *number);
  return fmt::format("{:.3f}", std::get<double>(fact.value));
}

class LineFormatter final : public spdlog::formatter {
 public:
  LineFormatter(std::string role, bool json) : role_(std::move(role)), json_(json) {}

  void format(const spdlog::details::log_msg& m, spdlog::memory_buf_t& out) override {
    const std::string_view level(spdlog::level::to_string_view(m.level).data(),
                                 spdlog::level::to_string_view(m.level).size());
    const auto ms = std::chrono::time_point_cast<std::chrono::milliseconds>(m.time);
    const std::time_t seconds = spdlog::log_clock::to_time_t(m.time);
    const auto fraction = static_cast<int>(ms.time_since_epoch().count() % 1000);
    const std::string_view text(m.payload.data(), m.payload.size());
    auto to = fmt::appender(out);
    if (!json_) {
      fmt::format_to(to, "{:%Y-%m-%dT%H:%M:%S}.{:03} {} {}: ", fmt::localtime(seconds), fraction,
                     level, role_);
      for (const char c : text) out.push_back(static_cast<unsigned char>(c) < ' ' ? ' ' : c);
    } else {
      fmt::format_to(to, R"({{"time":"{:%Y-%m-%dT%H:%M:%S}.{:03}Z","level":"{}","role":"{}",)",
                     fmt::gmtime(seconds), fraction, level, role_);
      fmt::format_to(to, R"("message":"{}"{}}})", Escaped(text),
                     m.source.filename == kFacts ? m.source.funcname : "");
    }
    out.push_back('\n');
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>(role_, json_);
  }

 private:
  const std::string role_;
  const bool json_;
};

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

absl::Status InitLog(const LogOptions& options) {
  const spdlog::level::level_enum wanted = spdlog::level::from_str(options.level);
  if (wanted == spdlog::level::off && options.level != "off") {
    return absl::InvalidArgumentError(
        fmt::format("the log level is {}: it must be trace, debug, info, warn, error or off",
                    Quoted(options.level)));
  }
  if (options.format != "text" && options.format != "json") {
    return absl::InvalidArgumentError(
        fmt::format("the log format is {}: it must be text or json", Quoted(options.format)));
  }
  json_lines = options.format == "json";
  auto logger = spdlog::get("catena");
  if (logger == nullptr) logger = spdlog::stderr_logger_mt("catena");
  logger->set_formatter(std::make_unique<LineFormatter>(options.role, json_lines));
  logger->set_level(wanted);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  gpr_set_log_function(LogOfGrpc);
  return absl::OkStatus();
}

void LogFacts(std::string_view message, std::initializer_list<LogFact> facts) {
  if (!spdlog::should_log(spdlog::level::info)) return;
  const bool json = json_lines;
  std::string line(message), members;
  for (const LogFact& fact : facts) {
    if (json) {
      members += fmt::format(R"(,"{}":{})", fact.name, ValueText(fact, true));
    } else {
      line += fmt::format(" {}={}", fact.name, ValueText(fact, false));
    }
  }
  spdlog::default_logger_raw()->log(spdlog::source_loc(kFacts, 1, members.c_str()),
                                    spdlog::level::info, spdlog::string_view_t(line));
}

}  // namespace catena
