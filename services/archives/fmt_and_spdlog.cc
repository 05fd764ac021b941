// The object code of fmt and spdlog, of which Debian has shared objects and headers but no
// archives: all inline functions of their headers, kept by -fkeep-inline-functions, and the
// templates that their shared objects have in place of the headers.
#define FMT_HEADER_ONLY
#define SPDLOG_HEADER_ONLY
#define SPDLOG_FMT_EXTERNAL

#include <locale>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ostream.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

template std::locale fmt::detail::locale_ref::get<std::locale>() const;
template std::shared_ptr<spdlog::logger> spdlog::stderr_logger_mt<spdlog::synchronous_factory>(
    const std::string& name);
