// Who may use the public API: whoever has one of the keys of a file, as the metadata or header
// "authorization: Bearer KEY". Without keys the API is open.
//
// Thread rules: immutable, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <grpcpp/server_context.h>

#include "kernels/base/status.h"

namespace catena {

class ApiKeys {
 public:
  ApiKeys() = default;  // open
  // Keys of visible ASCII, one a line; empty lines and those that start with # are left out.
  // INVALID_ARGUMENT that names the line, or where there is none: a file without keys must not
  // open the door.
  static absl::StatusOr<ApiKeys> Parse(std::string_view text, std::string_view source);
  static absl::StatusOr<ApiKeys> FromFile(const std::string& path);

  // `authorization`: the metadata's value, nullopt where there is none. UNAUTHENTICATED without a
  // key, PERMISSION_DENIED with a wrong one. The time it takes depends on the given key's length
  // and the number of keys only.
  absl::Status Check(std::optional<std::string_view> authorization) const;

  // The same of a call's metadata.
  absl::Status Check(const grpc::CallbackServerContext& context) const;

  bool open() const { return keys_.empty(); }

 private:
  explicit ApiKeys(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  std::vector<std::string> keys_;
};

}  // namespace catena
