// Any bytes are either refused as JSON or parsed within the limits; the fields of what was parsed
// can be asked for by every type.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto json = catena::ParseJson(text, "fuzz",
                                {.max_bytes = 1 << 16, .max_depth = 16, .max_memory = 1 << 20});
  if (!json.ok() || !json->is_object()) return 0;
  for (const auto& [key, value] : json->items()) {
    bool typed = catena::GetInt(*json, key.c_str(), "fuzz").ok() ||
                 catena::GetDouble(*json, key.c_str(), "fuzz").ok() ||
                 catena::GetBool(*json, key.c_str(), "fuzz").ok() ||
                 catena::GetString(*json, key.c_str(), "fuzz").ok();
    bool scalar = !value.is_structured();
    // A key with a zero byte is another key to the functions, which take C strings.
    bool plain_key = key.find('\0') == std::string::npos;
    bool too_big = value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX;
    if (plain_key && !too_big && typed != scalar) __builtin_trap();
  }
  return 0;
}
