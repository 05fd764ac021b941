#include "model/json.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <unordered_set>
#include <vector>

namespace catena {
namespace {

using nlohmann::json;

// Forwards to nlohmann's own DOM builder, and refuses depth and duplicate keys on the way.
class LimitedSax {
 public:
  LimitedSax(json* out, int max_depth) : dom_(*out, false), max_depth_(max_depth) {}

  bool null() { return dom_.null(); }
  bool boolean(bool v) { return dom_.boolean(v); }
  bool number_integer(json::number_integer_t v) { return dom_.number_integer(v); }
  bool number_unsigned(json::number_unsigned_t v) { return dom_.number_unsigned(v); }
  bool number_float(json::number_float_t v, const std::string& text) {
    return dom_.number_float(v, text);
  }
  bool string(std::string& v) { return dom_.string(v); }
  bool binary(json::binary_t& v) { return dom_.binary(v); }

  bool start_object(size_t n) {
    if (!Enter()) return false;
    keys_.emplace_back();
    return dom_.start_object(n);
  }
  bool key(std::string& v) {
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
    if (++depth_ <= max_depth_) return true;
    error_ = fmt::format("JSON nested deeper than {}", max_depth_);
    return false;
  }

  nlohmann::detail::json_sax_dom_parser<json> dom_;
  int max_depth_;
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
  LimitedSax sax(&out, limits.max_depth);
  if (!json::sax_parse(text.begin(), text.end(), &sax)) {
    return absl::DataLossError(fmt::format("{}: {}", source, sax.error()));
  }
  return out;
}

absl::StatusOr<json> ReadJsonFile(const std::string& path, const JsonLimits& limits) {
  std::error_code ignored;  // a named pipe would wait for a writer
  if (!std::filesystem::is_regular_file(path, ignored)) {
    return absl::NotFoundError(fmt::format("{}: no such file", path));
  }
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> f(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (f == nullptr) return absl::NotFoundError(fmt::format("{}: cannot be opened", path));
  std::string text;
  char buf[1 << 16];
  while (size_t n = std::fread(buf, 1, sizeof buf, f.get())) {
    text.append(buf, n);
    if (text.size() > limits.max_bytes) break;  // ParseJson says so
  }
  if (std::ferror(f.get())) return absl::DataLossError(fmt::format("{}: cannot be read", path));
  return ParseJson(text, path, limits);
}

absl::StatusOr<std::optional<int64_t>> GetInt(const json& object, const char* key,
                                              std::string_view source) {
  const json* v = Find(object, key);
  if (v == nullptr) return std::nullopt;
  const bool fits = v->is_number_integer() &&
                    !(v->is_number_unsigned() && v->get<uint64_t>() > uint64_t{INT64_MAX});
  if (!fits) return WrongType(source, key, "an integer");
  return v->get<int64_t>();
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
