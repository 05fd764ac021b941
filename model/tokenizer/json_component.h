// What the readers of a tokenizer.json share: where they are in it, for messages, and the
// components (normalizers, pre-tokenizers, decoders) that it lists. Plain values and pure
// functions: any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/status.h"
#include "model/json.h"

namespace catena {

// Where in which file: `at` is a path of keys.
struct JsonPlace {
  std::string_view source;
  std::string at;

  JsonPlace operator/(std::string_view key) const {
    return {source, fmt::format("{}.{}", at, key)};
  }
  absl::Status Damaged(std::string_view what) const {
    return absl::DataLossError(fmt::format("{}: {} {}", source, at, what));
  }
  absl::Status Unsupported(std::string_view what) const {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} {} is not supported; use a model whose tokenizer is a byte-pair "
                    "encoding like Llama's, Phi-3's or GPT-2's, or a unigram model",
                    source, at, what));
  }
};

// The member `key`, or null where absent. REQUIRES: `object` is an object.
const nlohmann::json& JsonMember(const nlohmann::json& object, const char* key);

// DATA_LOSS where it is no string, or no boolean.
absl::StatusOr<std::string> RequiredString(const nlohmann::json& object, const char* key,
                                           const JsonPlace& p);
absl::StatusOr<bool> BoolOr(const nlohmann::json& object, const char* key, bool otherwise,
                            const JsonPlace& p);

struct JsonComponent {
  const nlohmann::json* object;
  std::string type;
  JsonPlace place;
};

// Appends the component `v` to `out`, or what it is a sequence of (under `list_key`), laid flat.
absl::Status FlattenComponents(const nlohmann::json& v, const char* list_key, const JsonPlace& p,
                               std::vector<JsonComponent>* out);

}  // namespace catena
