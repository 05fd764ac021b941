#include "services/common/status.h"

#include <algorithm>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

constexpr char kRetryInfo[] = "type.googleapis.com/google.rpc.RetryInfo";
// Trailing metadata of more than 8 KiB may be refused on the way.
constexpr size_t kMaxMessageBytes = 2048;
constexpr size_t kMaxDetails = 16;
constexpr int64_t kMaxRetrySeconds = 24 * 3600;

// Also valid UTF-8, as protobuf's strings must be.
std::string OneLine(std::string_view text) {
  std::string line;
  AppendValidUtf8(text.substr(0, kMaxMessageBytes), &line);
  if (text.size() > kMaxMessageBytes) line += "…";
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; }, ' ');
  return line;
}

}  // namespace

// gRPC says "failed to connect to all addresses; last error: UNKNOWN: ipv4:…: Connection refused".
std::string ConnectionCause(std::string_view message) {
  for (std::string_view known :
       {"Connection refused", "No such file or directory", "DNS resolution",
        "Hostname Verification Check failed", "Ssl handshake failed", "Tls handshake failed",
        "certificate", "timed out"}) {
    if (message.find(known) == std::string_view::npos) continue;
    if (known == "Hostname Verification Check failed") {
      return "its certificate is for another name: call it by that, or give --tls-server-name";
    }
    if (known == "DNS resolution") return "its name cannot be resolved";
    if (known.ends_with("handshake failed") || known == "certificate") {
      return "the TLS handshake failed (" + OneLine(message) + ")";
    }
    return std::string(known);
  }
  return OneLine(message);
}

absl::Status WithRetryDelay(absl::Status status, std::chrono::milliseconds delay) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(delay.count() / 1000);
  info.mutable_retry_delay()->set_nanos(static_cast<int32_t>(delay.count() % 1000) * 1'000'000);
  status.SetPayload(kRetryInfo, absl::Cord(info.SerializeAsString()));
  return status;
}

std::optional<std::chrono::milliseconds> RetryDelay(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryInfo);
  google::rpc::RetryInfo info;
  if (!payload || !info.ParseFromString(std::string(*payload))) return std::nullopt;
  const int64_t seconds = std::clamp<int64_t>(info.retry_delay().seconds(), 0, kMaxRetrySeconds);
  const int64_t nanos = std::clamp(info.retry_delay().nanos(), 0, 999'999'999);
  return std::chrono::milliseconds(seconds * 1000 + nanos / 1'000'000);
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  if (absl::IsResourceExhausted(status) && !status.GetPayload(kRetryInfo)) {
    return ToGrpcStatus(WithRetryDelay(status, kDefaultRetryDelay));
  }
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  const std::string message = OneLine(Message(status));
  details.set_message(message);
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    auto* any = details.add_details();
    any->set_type_url(std::string(type));
    any->set_value(std::string(payload));
  });
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      details.SerializeAsString());
}

bool IsFromService(const grpc::Status& status) {
  google::rpc::Status details;
  return !status.error_details().empty() && details.ParseFromString(status.error_details()) &&
         details.code() == static_cast<int>(status.error_code());
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const int code = static_cast<int>(status.error_code());
  const bool known = code >= 1 && code <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  absl::Status out(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown,
                   OneLine(status.error_message()));
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return out;
  for (const auto& any : details.details()) {
    if (static_cast<size_t>(&any - &details.details(0)) >= kMaxDetails) break;
    out.SetPayload(any.type_url(), absl::Cord(any.value()));
  }
  return out;
}

absl::Status ExplainError(const grpc::Status& status, const Peer& peer, bool answered) {
  if (status.ok() || IsFromService(status)) return FromGrpcStatus(status);
  const absl::Status plain = FromGrpcStatus(status);
  const std::string who = fmt::format("{} at {}", peer.name, peer.address);
  switch (plain.code()) {
    case absl::StatusCode::kUnavailable:
      if (answered) {
        return absl::UnavailableError(
            fmt::format("the connection to {} was lost ({}); run it again", who,
                        ConnectionCause(Message(plain))));
      }
      return absl::UnavailableError(fmt::format("cannot reach {}: {}; {}", who,
                                                ConnectionCause(Message(plain)), peer.advice));
    case absl::StatusCode::kDeadlineExceeded:
      return absl::DeadlineExceededError(
          fmt::format("{} did not answer in time; give it longer, or {}", who, peer.advice));
    case absl::StatusCode::kUnimplemented:
      return absl::UnimplementedError(
          fmt::format("what answers at {} is not {} of this version; check the address",
                      peer.address, peer.name));
    case absl::StatusCode::kCancelled:
      return absl::CancelledError("interrupted");
    case absl::StatusCode::kResourceExhausted:
      return absl::ResourceExhaustedError(
          fmt::format("{} takes no message of this size ({}); send less", who, Message(plain)));
    default:
      return Annotate(plain, who);
  }
}

}  // namespace catena
