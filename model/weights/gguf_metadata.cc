// The metadata of a GGUF file, copied out on request; gguf.cc has checked its extent.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "model/weights/gguf.h"
#include "model/weights/gguf_format.h"

namespace catena {

using namespace gguf;

absl::Status GgufFile::WrongType(std::string_view key, std::string_view want) const {
  return absl::DataLossError(fmt::format("{}: metadata {} must be {}", source_, Quoted(key), want));
}

const GgufFile::Value* GgufFile::FindValue(std::string_view key) const {
  const auto it = metadata_.find(key);
  return it == metadata_.end() ? nullptr : &it->second;
}

std::vector<std::string> GgufFile::Keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : metadata_) keys.push_back(key);
  return keys;
}

std::vector<GgufFile::Entry> GgufFile::Entries() const {
  std::vector<Entry> entries;
  for (const auto& [key, v] : metadata_) {
    entries.push_back({key, v.type, v.is_array, v.count, v.bytes});
  }
  // Each begins behind the key of its own, those of no bytes too.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::less<>()(a.bytes.data(), b.bytes.data());
  });
  return entries;
}

absl::StatusOr<std::optional<int64_t>> GgufFile::GetInt(std::string_view key) const {
  const Value* v = FindValue(key);
  if (v == nullptr) return std::nullopt;
  if (v->is_array) return WrongType(key, "an integer, not an array");
  const uint8_t* p = v->bytes.data();
  switch (v->type) {
    case kUint8:
      return Load<uint8_t>(p);
    case kInt8:
      return Load<int8_t>(p);
    case kUint16:
      return Load<uint16_t>(p);
    case kInt16:
      return Load<int16_t>(p);
    case kUint32:
      return Load<uint32_t>(p);
    case kInt32:
      return Load<int32_t>(p);
    case kInt64:
      return Load<int64_t>(p);
    case kUint64:
      if (Load<uint64_t>(p) > uint64_t{INT64_MAX}) return WrongType(key, "an integer below 2^63");
      return static_cast<int64_t>(Load<uint64_t>(p));
    default:
      return WrongType(key, "an integer");
  }
}

absl::StatusOr<std::optional<double>> GgufFile::GetDouble(std::string_view key) const {
  const Value* v = FindValue(key);
  if (v == nullptr) return std::nullopt;
  if (v->is_array || (v->type != kFloat32 && v->type != kFloat64)) {
    const auto integer = GetInt(key);  // some writers drop a fraction of zero
    if (!integer.ok()) return WrongType(key, "a number");
    return static_cast<double>(**integer);
  }
  const double value =
      v->type == kFloat32 ? double{Load<float>(v->bytes.data())} : Load<double>(v->bytes.data());
  if (!std::isfinite(value)) return WrongType(key, "a finite number");
  return value;
}

absl::StatusOr<std::optional<bool>> GgufFile::GetBool(std::string_view key) const {
  const Value* v = FindValue(key);
  if (v == nullptr) return std::nullopt;
  if (v->is_array || v->type != kBool || v->bytes[0] > 1) return WrongType(key, "true or false");
  return v->bytes[0] == 1;
}

absl::StatusOr<std::optional<std::string>> GgufFile::GetString(std::string_view key) const {
  const Value* v = FindValue(key);
  if (v == nullptr) return std::nullopt;
  if (v->is_array || v->type != kString) return WrongType(key, "a string");
  return std::string(Text(v->bytes));
}

absl::StatusOr<std::optional<std::vector<std::string>>> GgufFile::GetStrings(
    std::string_view key) const {
  const Value* v = FindValue(key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_array || v->type != kString) return WrongType(key, "an array of strings");
  std::vector<std::string> out;
  out.reserve(v->count);
  const uint8_t* p = v->bytes.data();  // the lengths were checked by TakeValue
  for (uint64_t i = 0; i < v->count; ++i) {
    const uint64_t size = Load<uint64_t>(p);
    out.emplace_back(reinterpret_cast<const char*>(p + sizeof size), size);
    p += sizeof size + size;
  }
  return out;
}

absl::StatusOr<std::optional<std::vector<float>>> GgufFile::GetFloats(std::string_view key) const {
  const Value* v = FindValue(key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_array || v->type != kFloat32) return WrongType(key, "an array of float32");
  std::vector<float> out(v->count);
  if (v->count > 0) std::memcpy(out.data(), v->bytes.data(), v->bytes.size());
  return out;
}

absl::StatusOr<std::optional<int64_t>> GgufFile::GetUniformInt(std::string_view key) const {
  const Value* v = FindValue(key);
  if (v == nullptr || !v->is_array) return GetInt(key);
  CATENA_ASSIGN_OR_RETURN(const auto values, GetInt32s(key));
  const bool uniform =
      !values->empty() &&
      std::all_of(values->begin(), values->end(), [&](int32_t i) { return i == values->front(); });
  if (!uniform) return WrongType(key, "one number, or a list of equal ones: layers alike");
  return values->front();
}

absl::StatusOr<std::optional<std::vector<int32_t>>> GgufFile::GetInt32s(
    std::string_view key) const {
  const Value* v = FindValue(key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_array || (v->type != kInt32 && v->type != kUint32)) {
    return WrongType(key, "an array of int32");
  }
  std::vector<int32_t> out(v->count);
  if (v->count > 0) std::memcpy(out.data(), v->bytes.data(), v->bytes.size());
  return out;
}

}  // namespace catena
