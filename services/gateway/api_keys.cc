#include "services/gateway/api_keys.h"

#include <algorithm>
#include <utility>

#include "runtime/chain/error_facts.h"

namespace catena {
namespace {

constexpr size_t kMaxKeys = 4096;
constexpr size_t kMaxKeyBytes = 512;
constexpr std::string_view kScheme = "bearer ";

// Equal or not in a time that depends on `given` alone. REQUIRES: `key` is not empty.
bool SameKey(std::string_view given, std::string_view key) {
  size_t differences = given.size() ^ key.size();
  for (size_t i = 0; i < given.size(); ++i) {
    differences |= static_cast<unsigned char>(given[i] ^ key[i % key.size()]);
  }
  return differences == 0;
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

bool HasScheme(std::string_view text) {
  return text.size() >= kScheme.size() &&
         std::equal(kScheme.begin(), kScheme.end(), text.begin(),
                    [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); });
}

}  // namespace

absl::StatusOr<ApiKeys> ApiKeys::Parse(std::string_view text, std::string_view source,
                                       KeyKind kind) {
  std::vector<std::string> keys;
  for (size_t begin = 0, line = 1; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view key = Trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    if (key.empty() || key[0] == '#') continue;
    const bool plain =
        std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 127; });
    if (!plain || key.size() > kMaxKeyBytes) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: a key must be 1 to {} visible ASCII characters without spaces",
                      source, line, kMaxKeyBytes));
    }
    keys.emplace_back(key);
  }
  if (keys.empty() || keys.size() > kMaxKeys) {
    return absl::InvalidArgumentError(fmt::format("{}: it has {} keys; write 1 to {}, one a line",
                                                  source, keys.size(), kMaxKeys));
  }
  return ApiKeys(std::move(keys), kind);
}

absl::Status ApiKeys::Check(std::optional<std::string_view> authorization) const {
  if (!authorization || !HasScheme(*authorization)) {
    return WithReason(
        absl::UnauthenticatedError(
            kind_ == KeyKind::kApi
                ? "an API key is needed; send it as \"authorization: Bearer KEY\""
                : "an operator's key is needed to see inside the cluster; give --operator-key, or "
                  "send it as \"authorization: Bearer KEY\""),
        ErrorReason::kApiKeyMissing);
  }
  const std::string_view given = Trimmed(authorization->substr(kScheme.size()));
  bool known = false;
  for (const std::string& key : keys_) known |= SameKey(given, key);
  if (known) return absl::OkStatus();
  return WithReason(absl::PermissionDeniedError(
                        kind_ == KeyKind::kApi ? "the API key is not one of this cluster's"
                                               : "the key is not one of this cluster's operators'"),
                    ErrorReason::kApiKeyWrong);
}

absl::Status ApiKeys::Check(const grpc::CallbackServerContext& context) const {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("authorization");
  if (found == metadata.end()) return Check(std::nullopt);
  return Check(std::string_view(found->second.data(), found->second.size()));
}

absl::Status CheckKey(const KeyRing* ring, const grpc::CallbackServerContext& context) {
  return ring == nullptr ? absl::OkStatus() : ring->Keys()->Check(context);
}

}  // namespace catena
