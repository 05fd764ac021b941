// JSON values as YAML, as people write it: for manifests. A writer of our own, since yaml-cpp's
// emitter writes the string "8080" or "true" without quotes, and then it is a string no more.
//
// Thread rules: any thread.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace catena::cli {

// In block style, a list or object of few plain words on one line; ends with a newline. What has a
// second meaning in YAML 1.1 or 1.2 (numbers, booleans, dates, indicators) is quoted where it is a
// string. REQUIRES: strings are UTF-8.
std::string ToYaml(const nlohmann::ordered_json& value);

}  // namespace catena::cli
