// The functions that every template may call: range, namespace, dict, and transformers'
// raise_exception and strftime_now.
//
// Thread rules: one thread a Budget.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "model/chat/jinja/builtins.h"

namespace catena::jinja {

bool IsGlobal(std::string_view name);

// INVALID_ARGUMENT where it cannot do with its arguments, and in the template's words where that
// is what it calls (raise_exception). `now`: for strftime_now. REQUIRES: IsGlobal(name).
absl::StatusOr<Value> CallGlobal(const std::string& name, Arguments args, std::time_t now,
                                 Budget* budget);

}  // namespace catena::jinja
