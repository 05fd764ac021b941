#include "services/common/status.h"

#include <algorithm>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

using std::chrono::milliseconds;

constexpr char kDomain[] = "catena";
constexpr char kUrlPrefix[] = "type.googleapis.com/";
// A field's path, until it goes as a BadRequest.
constexpr char kFieldUrl[] = "catena/field";
// Trailing metadata of more than 8 KiB may be refused on the way.
constexpr size_t kMaxMessageBytes = 2048;
constexpr size_t kMaxDetailBytes = 512;
constexpr int kMaxDetails = 16;
constexpr int64_t kMaxRetrySeconds = 24 * 3600;

// Also valid UTF-8, as protobuf's strings must be.
std::string OneLine(std::string_view text, size_t max_bytes) {
  std::string line;
  AppendValidUtf8(text.substr(0, max_bytes), &line);
  size_t end = std::min(line.size(), max_bytes);
  while (0 < end && end < line.size() && (line[end] & 0xC0) == 0x80) --end;  // a whole character
  line.resize(end);
  if (text.size() > max_bytes) line += "…";
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; }, ' ');
  return line;
}

// A detail of a status that came.
template <typename M>
std::optional<M> DetailOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kUrlPrefix + M::descriptor()->full_name());
  M detail;
  if (!payload || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

google::rpc::ErrorInfo InfoOf(const absl::Status& status) {
  google::rpc::ErrorInfo info;
  info.set_reason(ReasonText(status));
  info.set_domain(kDomain);
  const std::string stage = StageOf(status);
  if (!stage.empty()) (*info.mutable_metadata())["stage"] = OneLine(stage, kMaxDetailBytes);
  return info;
}

// What another service of ours said, as it is handed on.
absl::Status WithFactsOf(const std::optional<google::rpc::ErrorInfo>& info, absl::Status status) {
  if (!info || info->domain() != kDomain) return status;
  if (const auto reason = ReasonByName(info->reason())) {
    status = WithReason(std::move(status), *reason);
  }
  const auto stage = info->metadata().find("stage");
  if (stage == info->metadata().end()) return status;
  return WithStage(std::move(status), OneLine(stage->second, kMaxDetailBytes));
}

google::rpc::RetryInfo RetryInfoOf(milliseconds delay) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(delay.count() / 1000);
  info.mutable_retry_delay()->set_nanos(static_cast<int32_t>(delay.count() % 1000) * 1'000'000);
  return info;
}

// Of a field of the request, or of the service that was asked about it.
std::optional<google::rpc::BadRequest> BadRequestOf(const absl::Status& status) {
  const auto field = status.GetPayload(kFieldUrl);
  if (!field) return DetailOf<google::rpc::BadRequest>(status);
  google::rpc::BadRequest bad;
  google::rpc::BadRequest::FieldViolation* violation = bad.add_field_violations();
  violation->set_field(OneLine(std::string(*field), kMaxDetailBytes));
  violation->set_description(OneLine(Message(status), kMaxDetailBytes));
  return bad;
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
      return "the TLS handshake failed (" + OneLine(message, kMaxMessageBytes) + ")";
    }
    return std::string(known);
  }
  return OneLine(message, kMaxMessageBytes);
}

absl::Status WithField(absl::Status status, std::string_view field) {
  if (status.ok() || status.GetPayload(kFieldUrl)) return status;
  status.SetPayload(kFieldUrl, absl::Cord(absl::string_view(field.data(), field.size())));
  return WithReason(std::move(status), ErrorReason::kInvalidField);
}

std::optional<milliseconds> RetryDelay(const absl::Status& status) {
  if (const auto info = DetailOf<google::rpc::RetryInfo>(status)) {
    const int64_t seconds = std::clamp<int64_t>(info->retry_delay().seconds(), 0, kMaxRetrySeconds);
    const int64_t nanos = std::clamp(info->retry_delay().nanos(), 0, 999'999'999);
    return milliseconds(seconds * 1000 + nanos / 1'000'000);
  }
  if (const auto delay = RetryAfter(status)) return std::chrono::ceil<milliseconds>(*delay);
  return std::nullopt;
}

std::string ReasonText(const absl::Status& status) {
  const auto reason = ReasonOf(status);
  return reason ? std::string(ReasonName(*reason)) : absl::StatusCodeToString(status.code());
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = OneLine(Message(status), kMaxMessageBytes);
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);
  details.add_details()->PackFrom(InfoOf(status));
  const bool later = absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
  if (const auto delay = RetryDelay(status); delay || later) {
    details.add_details()->PackFrom(RetryInfoOf(delay.value_or(kDefaultRetryDelay)));
  }
  if (const auto bad = BadRequestOf(status)) details.add_details()->PackFrom(*bad);
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
                   OneLine(status.error_message(), kMaxMessageBytes));
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return out;
  const int n = std::min(details.details_size(), kMaxDetails);
  for (int i = 0; i < n; ++i) {
    out.SetPayload(details.details(i).type_url(), absl::Cord(details.details(i).value()));
  }
  return WithFactsOf(DetailOf<google::rpc::ErrorInfo>(out), out);
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
