// JSON from outside, parsed with limits: size, depth, memory and duplicate keys. Used for every
// JSON file of a model (config.json, tokenizer.json, safetensors headers) and every line of a
// request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "kernels/base/status.h"

namespace catena {

// Those of each kind of file are in file_limits.h.
struct JsonLimits {
  uint64_t max_bytes;   // of the text
  int max_depth;        // configs nest 5 deep, tokenizer.json 6
  uint64_t max_memory;  // bytes that the values take once parsed, by an estimate from above
};

// Parses one JSON document. `source` (a path) starts every message. Malformed, too deep, too large,
// too costly or an object that names a key twice: DATA_LOSS.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view source,
                                         const JsonLimits& limits);

// Reads and parses a file (read_file.h has the errors). NOT_FOUND where it does not exist.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path, const JsonLimits& limits);

// A field of an object, by kind. An absent or null field is nullopt; another type, or an integer
// that does not fit in int64, is DATA_LOSS that names the key. Python writes some integers as 4.0:
// a number without a fraction is an integer. REQUIRES: `object` is an object.
std::optional<int64_t> AsInt(const nlohmann::json& value);
absl::StatusOr<std::optional<int64_t>> GetInt(const nlohmann::json& object, const char* key,
                                              std::string_view source);
absl::StatusOr<std::optional<double>> GetDouble(const nlohmann::json& object, const char* key,
                                                std::string_view source);
absl::StatusOr<std::optional<bool>> GetBool(const nlohmann::json& object, const char* key,
                                            std::string_view source);
absl::StatusOr<std::optional<std::string>> GetString(const nlohmann::json& object, const char* key,
                                                     std::string_view source);

}  // namespace catena
