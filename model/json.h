// JSON from outside, parsed with limits: depth, size and duplicate keys. Used for every JSON file
// of a model (config.json, tokenizer.json, safetensors headers) and, later, every request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "kernels/base/status.h"

namespace catena {

struct JsonLimits {
  size_t max_bytes = size_t{256} << 20;  // tokenizer.json of large vocabularies has 30 MB
  int max_depth = 64;                    // configs nest 5 deep, tokenizer.json 6
};

// Parses one JSON document. `source` (a path) starts every message. Malformed, too deep, too large
// or an object that names a key twice: DATA_LOSS.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view source,
                                         const JsonLimits& limits = {});

// Reads and parses a file. NOT_FOUND where it does not exist.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path, const JsonLimits& limits = {});

// A field of an object, by kind. An absent or null field is nullopt; another type, or an integer
// that does not fit in int64, is DATA_LOSS that names the key. REQUIRES: `object` is an object.
absl::StatusOr<std::optional<int64_t>> GetInt(const nlohmann::json& object, const char* key,
                                              std::string_view source);
absl::StatusOr<std::optional<double>> GetDouble(const nlohmann::json& object, const char* key,
                                                std::string_view source);
absl::StatusOr<std::optional<bool>> GetBool(const nlohmann::json& object, const char* key,
                                            std::string_view source);
absl::StatusOr<std::optional<std::string>> GetString(const nlohmann::json& object, const char* key,
                                                     std::string_view source);

}  // namespace catena
