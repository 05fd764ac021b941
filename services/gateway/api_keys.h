// Who may ask: whoever has one of the keys of a file, as the metadata or header "authorization:
// Bearer KEY". There are two kinds of files: keys of the public API, and of the cluster's
// operators.
//
// Thread rules: ApiKeys are immutable; a KeyRing from any thread.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <grpcpp/server_context.h>

#include "kernels/base/status.h"

namespace catena {

enum class KeyKind { kApi, kOperator };

class ApiKeys {
 public:
  // Keys of visible ASCII, one a line; empty lines and those that start with # are left out.
  // INVALID_ARGUMENT that names the line, or where there is none: a file without keys must not
  // open the door.
  static absl::StatusOr<ApiKeys> Parse(std::string_view text, std::string_view source,
                                       KeyKind kind = KeyKind::kApi);

  // `authorization`: the metadata's value, nullopt where there is none. UNAUTHENTICATED without a
  // key, PERMISSION_DENIED with a wrong one. The time it takes depends on the given key's length
  // and the number of keys only.
  absl::Status Check(std::optional<std::string_view> authorization) const;

  // The same of a call's metadata.
  absl::Status Check(const grpc::CallbackServerContext& context) const;

 private:
  ApiKeys(std::vector<std::string> keys, KeyKind kind) : keys_(std::move(keys)), kind_(kind) {}

  std::vector<std::string> keys_;
  KeyKind kind_;
};

// The keys that count now.
class KeyRing {
 public:
  explicit KeyRing(ApiKeys keys) { Replace(std::move(keys)); }
  std::shared_ptr<const ApiKeys> Keys() const {
    std::lock_guard lock(mutex_);
    return keys_;
  }
  void Replace(ApiKeys keys) {
    auto next = std::make_shared<const ApiKeys>(std::move(keys));
    std::lock_guard lock(mutex_);
    keys_.swap(next);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const ApiKeys> keys_;
};

// Of a call to the public API, which is open to all without a ring.
absl::Status CheckKey(const KeyRing* ring, const grpc::CallbackServerContext& context);

}  // namespace catena
