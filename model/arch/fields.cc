#include "model/arch/fields.h"

#include <cstring>

#include "model/model_limits.h"

namespace catena {
namespace {

// `value` in [min, max]; `absent` or an error where there is none.
template <typename T>
absl::StatusOr<T> InRange(const Fields& fields, const char* key, std::optional<T> value, T min,
                          T max, std::optional<T> absent) {
  if (!value.has_value()) {
    if (absent.has_value()) return *absent;
    return absl::InvalidArgumentError(
        fmt::format("{}: \"{}\" is missing", fields.source(), fields.Spell(key)));
  }
  if (!(*value >= min && *value <= max)) {
    return absl::InvalidArgumentError(fmt::format("{}: \"{}\" is {}, not between {} and {}",
                                                  fields.source(), fields.Spell(key), *value, min,
                                                  max));
  }
  return *value;
}

bool IsRopeFactor(double f) { return f >= limits::kMinRopeFactor && f <= limits::kMaxRopeFactor; }

absl::Status BadFactors(std::string_view source, std::string_view name, int64_t count) {
  return absl::InvalidArgumentError(fmt::format("{}: {} must hold {} numbers between {} and {}",
                                                source, Quoted(name), count, limits::kMinRopeFactor,
                                                limits::kMaxRopeFactor));
}

}  // namespace

absl::StatusOr<int64_t> Fields::Int(const char* key, int64_t min, int64_t max,
                                    std::optional<int64_t> absent) const {
  CATENA_ASSIGN_OR_RETURN(const auto value, FindInt(key));
  return InRange(*this, key, value, min, max, absent);
}

absl::StatusOr<double> Fields::Double(const char* key, double min, double max,
                                      std::optional<double> absent) const {
  CATENA_ASSIGN_OR_RETURN(const auto value, FindDouble(key));
  return InRange(*this, key, value, min, max, absent);
}

absl::StatusOr<std::vector<float>> JsonFields::RopeFactors(const char* key, int64_t count) const {
  const auto it = object_.find(key);
  if (it == object_.end() || !it->is_array() || static_cast<int64_t>(it->size()) != count) {
    return BadFactors(source_, Spell(key), count);
  }
  std::vector<float> out;
  for (const nlohmann::json& v : *it) {
    if (!v.is_number() || !IsRopeFactor(v.get<double>())) {
      return BadFactors(source_, Spell(key), count);
    }
    out.push_back(static_cast<float>(v.get<double>()));
  }
  return out;
}

absl::StatusOr<std::vector<float>> GgufFields::RopeFactors(const std::string& tensor,
                                                           int64_t count) const {
  CATENA_ASSIGN_OR_RETURN(const TensorView view, file_.Find(tensor));
  if (view.dtype != DType::kF32 || view.rows != 1 || view.cols != count) {
    return absl::DataLossError(
        fmt::format("{}: tensor {} is ({}, {}) of {} where ({}) of f32 is wanted", source(),
                    Quoted(tensor), view.rows, view.cols, Name(view.dtype), count));
  }
  std::vector<float> out(static_cast<size_t>(count));
  std::memcpy(out.data(), view.bytes.data(), view.bytes.size());
  for (const float f : out) {
    if (!IsRopeFactor(f)) return BadFactors(source(), tensor, count);
  }
  return out;
}

}  // namespace catena
