#include "services/common/edge_codec.h"

#include "model/tokenizer/utf8.h"
#include "runtime/chain/limits.h"

namespace catena {

std::string ValidText(std::string_view text, int64_t max_bytes) {
  std::string out;
  AppendValidUtf8(text, &out);
  auto end = static_cast<size_t>(max_bytes);
  if (out.size() <= end) return out;
  while (end > 0 && (out[end] & 0xC0) == 0x80) --end;
  return out.substr(0, end);
}

void EncodeEdge(const Edge& edge, v1::BrokenEdge* out) {
  out->set_to(edge.to);
  out->set_code(static_cast<int>(edge.why.code()));
  out->set_message(ValidText(Message(edge.why), limits::kMaxErrorBytes));
}

absl::StatusOr<Edge> DecodeEdge(const v1::BrokenEdge& in) {
  constexpr auto kLastCode = static_cast<int>(absl::StatusCode::kUnauthenticated);
  if (in.code() < 1 || in.code() > kLastCode) {
    return absl::InvalidArgumentError(
        fmt::format("a broken edge has code {}: it must be from 1 to {}", in.code(), kLastCode));
  }
  if (in.message().size() > static_cast<size_t>(limits::kMaxErrorBytes)) {
    return absl::InvalidArgumentError(
        fmt::format("a broken edge has a message of {} bytes: at "
                    "most {} are allowed",
                    in.message().size(), limits::kMaxErrorBytes));
  }
  return Edge{in.to(), absl::Status(static_cast<absl::StatusCode>(in.code()), in.message())};
}

}  // namespace catena
