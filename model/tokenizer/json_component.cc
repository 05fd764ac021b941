#include "model/tokenizer/json_component.h"

#include <utility>

namespace catena {

using nlohmann::json;

namespace {

constexpr size_t kMaxSteps = 16;  // of a sequence

}  // namespace

const json& JsonMember(const json& object, const char* key) {
  static const json null;
  const auto it = object.find(key);
  return it == object.end() ? null : *it;
}

absl::StatusOr<std::string> RequiredString(const json& object, const char* key,
                                           const JsonPlace& p) {
  const json& v = JsonMember(object, key);
  if (!v.is_string()) return (p / key).Damaged("must be a string");
  return v.get<std::string>();
}

absl::StatusOr<bool> BoolOr(const json& object, const char* key, bool otherwise,
                            const JsonPlace& p) {
  CATENA_ASSIGN_OR_RETURN(const auto v, GetBool(object, key, p.source));
  return v.value_or(otherwise);
}

absl::Status FlattenComponents(const json& v, const char* list_key, const JsonPlace& p,
                               std::vector<JsonComponent>* out) {
  if (v.is_null()) return absl::OkStatus();
  if (!v.is_object()) return p.Damaged("must be an object");
  CATENA_ASSIGN_OR_RETURN(std::string type, RequiredString(v, "type", p));
  if (type != "Sequence") {
    if (out->size() == kMaxSteps) return p.Unsupported(fmt::format("of over {} steps", kMaxSteps));
    out->push_back({&v, std::move(type), p});
    return absl::OkStatus();
  }
  const json& list = JsonMember(v, list_key);
  if (!list.is_array()) return (p / list_key).Damaged("must be a list");
  for (const json& item : list) {
    CATENA_RETURN_IF_ERROR(FlattenComponents(item, list_key, p / list_key, out));
  }
  return absl::OkStatus();
}

}  // namespace catena
