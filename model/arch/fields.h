// The fields of a config, whichever file they come from, read with their limits: what a config.json
// and GGUF metadata have in common. A value out of its range, or a missing one, is INVALID_ARGUMENT
// that names file, key and range; a value of another type is DATA_LOSS.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/json.h"
#include "model/weights/gguf.h"

namespace catena {

class Fields {
 public:
  virtual ~Fields() = default;
  virtual const std::string& source() const = 0;
  // The key as the file spells it.
  virtual std::string Spell(const char* key) const = 0;
  virtual absl::StatusOr<std::optional<int64_t>> FindInt(const char* key) const = 0;
  virtual absl::StatusOr<std::optional<double>> FindDouble(const char* key) const = 0;
  virtual absl::StatusOr<std::optional<bool>> FindBool(const char* key) const = 0;
  virtual absl::StatusOr<std::optional<std::string>> FindString(const char* key) const = 0;

  // The value, `absent` where the file has none; without `absent` a missing value is an error.
  absl::StatusOr<int64_t> Int(const char* key, int64_t min, int64_t max,
                              std::optional<int64_t> absent = std::nullopt) const;
  absl::StatusOr<double> Double(const char* key, double min, double max,
                                std::optional<double> absent = std::nullopt) const;
};

// An object of a JSON document, which must outlive this.
class JsonFields final : public Fields {
 public:
  // REQUIRES: `object` is an object. `prefix` is put before keys in messages ("rope_scaling.").
  JsonFields(const nlohmann::json& object, std::string source, std::string prefix = "")
      : object_(object), source_(std::move(source)), prefix_(std::move(prefix)) {}

  const nlohmann::json& object() const { return object_; }
  const std::string& source() const override { return source_; }
  std::string Spell(const char* key) const override { return prefix_ + key; }
  absl::StatusOr<std::optional<int64_t>> FindInt(const char* key) const override {
    return GetInt(object_, key, source_);
  }
  absl::StatusOr<std::optional<double>> FindDouble(const char* key) const override {
    return GetDouble(object_, key, source_);
  }
  absl::StatusOr<std::optional<bool>> FindBool(const char* key) const override {
    return GetBool(object_, key, source_);
  }
  absl::StatusOr<std::optional<std::string>> FindString(const char* key) const override {
    return GetString(object_, key, source_);
  }
  // A list of positive factors of exactly `count` values within the limits of rotary factors.
  absl::StatusOr<std::vector<float>> RopeFactors(const char* key, int64_t count) const;

 private:
  const nlohmann::json& object_;
  std::string source_, prefix_;
};

// The keys of a GGUF file under its architecture: "block_count" is "phi3.block_count".
class GgufFields final : public Fields {
 public:
  GgufFields(const GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(fmt::format("{}.", architecture)) {}

  const GgufFile& file() const { return file_; }
  const std::string& source() const override { return file_.source(); }
  std::string Spell(const char* key) const override { return prefix_ + key; }
  absl::StatusOr<std::optional<int64_t>> FindInt(const char* key) const override {
    return file_.GetUniformInt(Spell(key));
  }
  absl::StatusOr<std::optional<double>> FindDouble(const char* key) const override {
    return file_.GetDouble(Spell(key));
  }
  absl::StatusOr<std::optional<bool>> FindBool(const char* key) const override {
    return file_.GetBool(Spell(key));
  }
  absl::StatusOr<std::optional<std::string>> FindString(const char* key) const override {
    return file_.GetString(Spell(key));
  }
  // A tensor that holds exactly `count` positive factors, for example rope_freqs.weight.
  absl::StatusOr<std::vector<float>> RopeFactors(const std::string& tensor, int64_t count) const;

 private:
  const GgufFile& file_;
  std::string prefix_;
};

}  // namespace catena
