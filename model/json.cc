#include "model/json.h"

#include <cmath>
#include <unordered_set>
#include <vector>

#include "model/read_file.h"

namespace catena {
namespace {

using nlohmann::json;

// What a value costs in memory, about and rather more: a value has 16 bytes, in an array up to as
// much again in reserve; strings, arrays and objects lie on the heap; a key is a node of a tree
// with its text, and while its object is open an entry of the set of keys seen.
constexpr uint64_t kValueBytes = 24;
constexpr uint64_t kStringBytes = 72;     // and its text
constexpr uint64_t kContainerBytes = 96;  // array, object
constexpr uint64_t kKeyBytes = 160;       // and its text, twice

// Forwards to nlohmann's own DOM builder, and refuses depth, memory and duplicate keys on the way.
class LimitedSax {
 public:
  LimitedSax(json* out, const JsonLimits& limits)
      : dom_(*out, false), limits_(limits), memory_left_(limits.max_memory) {}

  bool null() { return Spend(kValueBytes) && dom_.null(); }
  bool boolean(bool v) { return Spend(kValueBytes) && dom_.boolean(v); }
  bool number_integer(json::number_integer_t v) {
    return Spend(kValueBytes) && dom_.number_integer(v);
  }
  bool number_unsigned(json::number_unsigned_t v) {
    return Spend(kValueBytes) && dom_.number_unsigned(v);
  }
  bool number_float(json::number_float_t v, const std::string& text) {
    return Spend(kValueBytes) && dom_.number_float(v, text);
  }
  bool string(std::string& v) { return Spend(kStringBytes + v.size()) && dom_.string(v); }
  bool binary(json::binary_t& v) { return dom_.binary(v); }  // JSON text has none

  bool start_object(size_t n) {
    if (!Enter()) return false;
    keys_.emplace_back();
    return dom_.start_object(n);
  }
  bool key(std::string& v) {
    if (!Spend(kKeyBytes + 2 * v.size())) return false;
    if (!keys_.back().insert(v).second) {
      error_ = fmt::format("the key {} appears twice in one object", Quoted(v));
      return false;
    }
    return dom_.key(v);
  }
  bool end_object() {
    --depth_;
    keys_.pop_back();
    return dom_.end_object();
  }
  bool start_array(size_t n) { return Enter() && dom_.start_array(n); }
  bool end_array() {
    --depth_;
    return dom_.end_array();
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) {
    error_ = fmt::format("malformed JSON at byte {}", position);
    return false;
  }

  const std::string& error() const { return error_; }

 private:
  bool Enter() {
    if (++depth_ <= limits_.max_depth) return Spend(kContainerBytes);
    error_ = fmt::format("JSON nested deeper than {}", limits_.max_depth);
    return false;
  }
  bool Spend(uint64_t bytes) {
    if (bytes <= memory_left_) {
      memory_left_ -= bytes;
      return true;
    }
    error_ = fmt::format("its JSON has more values than fit in {} MiB; is it the right file?",
                         limits_.max_memory >> 20);
    return false;
  }

  nlohmann::detail::json_sax_dom_parser<json> dom_;
  const JsonLimits limits_;
  uint64_t memory_left_;
  int depth_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;
  std::string error_;
};

absl::Status WrongType(std::string_view source, const char* key, std::string_view want) {
  return absl::DataLossError(fmt::format("{}: \"{}\" must be {}", source, key, want));
}

const json* Find(const json& object, const char* key) {
  CATENA_CHECK(object.is_object());
  auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

}  // namespace

absl::StatusOr<json> ParseJson(std::string_view text, std::string_view source,
                               const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return absl::DataLossError(fmt::format("{}: {} bytes of JSON, more than the limit of {}",
                                           source, text.size(), limits.max_bytes));
  }
  json out;
  LimitedSax sax(&out, limits);
  if (!json::sax_parse(text.begin(), text.end(), &sax)) {
    return absl::DataLossError(fmt::format("{}: {}", source, sax.error()));
  }
  return out;
}

absl::StatusOr<json> ReadJsonFile(const std::string& path, const JsonLimits& limits) {
  CATENA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, limits.max_bytes));
  return ParseJson(text, path, limits);
}

std::optional<int64_t> AsInt(const json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t v = value.get<uint64_t>();
    return v <= uint64_t{INT64_MAX} ? std::optional<int64_t>(v) : std::nullopt;
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  constexpr double kExact = 9007199254740992.0;  // 2^53: above, not every integer is a double
  const double v = value.get<double>();
  if (!(std::abs(v) <= kExact) || v != std::floor(v)) return std::nullopt;
  return static_cast<int64_t>(v);
}

absl::StatusOr<std::optional<int64_t>> GetInt(const json& object, const char* key,
                                              std::string_view source) {
  const json* v = Find(object, key);
  if (v == nullptr) return std::nullopt;
  const std::optional<int64_t> value = AsInt(*v);
  if (!value) return WrongType(source, key, "an integer");
  return value;
}

absl::StatusOr<std::optional<double>> GetDouble(const json& object, const char* key,
                                                std::string_view source) {
  const json* v = Find(object, key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_number() || !std::isfinite(v->get<double>())) {
    return WrongType(source, key, "a number");
  }
  return v->get<double>();
}

absl::StatusOr<std::optional<bool>> GetBool(const json& object, const char* key,
                                            std::string_view source) {
  const json* v = Find(object, key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_boolean()) return WrongType(source, key, "true or false");
  return v->get<bool>();
}

absl::StatusOr<std::optional<std::string>> GetString(const json& object, const char* key,
                                                     std::string_view source) {
  const json* v = Find(object, key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_string()) return WrongType(source, key, "a string");
  return v->get<std::string>();
}

}  // namespace catena
