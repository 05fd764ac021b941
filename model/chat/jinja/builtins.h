// What Jinja's values can do: attributes, items, methods, filters, tests. As jinja2's sandbox has
// it for transformers, so nothing changes a value; what is not here is refused by name.
//
// Thread rules: one thread a Budget.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/chat/jinja/value.h"

namespace catena::jinja {

// The work and the memory that a rendering may take.
class Budget {
 public:
  static constexpr int64_t kStep = 64;                    // the work of a step, in bytes copied
  static constexpr int64_t kMost = int64_t{256} << 20;    // 4 million steps
  static constexpr int64_t kMaxText = int64_t{16} << 20;  // of one text

  // INVALID_ARGUMENT where it is used up.
  absl::Status Spend(int64_t bytes);
  // A text of so many bytes, or a list of so many values, is about to be made.
  absl::Status Make(int64_t bytes);

 private:
  int64_t left_ = kMost;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The one at a place, or of a name; null where there is none.
  const Value* Find(size_t place, std::string_view name) const;
};

// v.name: a method, else what has the key; v[key]: the other way round. Undefined where there is
// neither; INVALID_ARGUMENT of what is itself undefined.
absl::StatusOr<Value> Attribute(const Value& v, const std::string& name);
absl::StatusOr<Value> Item(const Value& v, const Value& key);
// v[from:to:step], of a text or a list.
absl::StatusOr<Value> Slice(const Value& v, const Value& from, const Value& to, const Value& step,
                            Budget* budget);
// What {% for %} goes over: a list's values, a dict's keys, a text's characters.
absl::StatusOr<List> Iterate(const Value& v, Budget* budget);
absl::StatusOr<bool> Contains(const Value& all, const Value& one);

absl::StatusOr<Value> CallMethod(const Value& self, const std::string& name, const Arguments& args,
                                 Budget* budget);

bool IsFilter(std::string_view name);
absl::StatusOr<Value> ApplyFilter(std::string_view name, const Value& v, const Arguments& args,
                                  Budget* budget);
bool IsTest(std::string_view name);
absl::StatusOr<bool> ApplyTest(std::string_view name, const Value& v, const Arguments& args);

}  // namespace catena::jinja
