// Errors: what a user, a file or a peer can cause is an absl::Status whose message says what to do;
// CATENA_CHECK is for bugs of our own and ends the process.
//
// Messages are built with fmt::format (Debian's abseil has a string_view of its own, so StrCat does
// not take std::string_view). Thread rules: everything here may be used from any thread.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <fmt/format.h>

// Returns the status of `expr` from this function unless it is OK.
#define CATENA_RETURN_IF_ERROR(expr)                                                       \
  do {                                                                                     \
    if (absl::Status catena_status_ = (expr); !catena_status_.ok()) return catena_status_; \
  } while (false)

// `lhs` is a declaration or an lvalue: CATENA_ASSIGN_OR_RETURN(auto x, MakeX());
#define CATENA_ASSIGN_OR_RETURN(lhs, expr) \
  CATENA_ASSIGN_OR_RETURN_IMPL_(CATENA_CONCAT_(catena_or_, __LINE__), lhs, expr)
#define CATENA_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                  \
  if (!tmp.ok()) return std::move(tmp).status();      \
  lhs = std::move(tmp).value()
#define CATENA_CONCAT_(a, b) CATENA_CONCAT_IMPL_(a, b)
#define CATENA_CONCAT_IMPL_(a, b) a##b

// Ends the process with the file, line and condition: a broken invariant of ours.
#define CATENA_CHECK(cond)                                                          \
  do {                                                                              \
    if (!(cond)) [[unlikely]] {                                                     \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #cond); \
      std::abort();                                                                 \
    }                                                                               \
  } while (false)

namespace catena {

// The message of a status as std::string_view (Debian's absl::string_view is a type of its own).
inline std::string_view Message(const absl::Status& s) {
  return {s.message().data(), s.message().size()};
}

// A name that came from outside (a file, a request), in double quotes and fit for a one-line
// message: control characters, quotes, backslashes and non-ASCII bytes become \xNN, and what is
// longer than 80 bytes is cut with "…".
inline std::string Quoted(std::string_view untrusted) {
  constexpr size_t kMaxBytes = 80;
  std::string out = "\"";
  for (const char c : untrusted.substr(0, kMaxBytes)) {
    const bool plain = c >= ' ' && c <= '~' && c != '"' && c != '\\';
    out += plain ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return out + (untrusted.size() > kMaxBytes ? "\"…" : "\"");
}

// The same code and payloads with `context: ` before the message; OK stays OK.
inline absl::Status Annotate(const absl::Status& s, std::string_view context) {
  if (s.ok()) return s;
  absl::Status out(s.code(), fmt::format("{}: {}", context, Message(s)));
  s.ForEachPayload([&](const auto& url, const auto& payload) { out.SetPayload(url, payload); });
  return out;
}

}  // namespace catena
