// What the operators of Jinja make of values, as Python's do. INVALID_ARGUMENT where they make
// nothing of these.
//
// Thread rules: one thread a Budget.
#pragma once

#include <string>

#include "model/chat/jinja/builtins.h"

namespace catena::jinja {

// +, -, *, /, //, %, ~
absl::StatusOr<Value> Operate(const std::string& op, const Value& a, const Value& b,
                              Budget* budget);
// + or - before a value
absl::StatusOr<Value> Signed(const std::string& op, const Value& v);
// ==, !=, <, >, <=, >=, in, not in
absl::StatusOr<bool> Compare(const std::string& op, const Value& a, const Value& b);

}  // namespace catena::jinja
