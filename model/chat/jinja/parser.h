// Jinja's grammar, as jinja2's parser.py has it, without what chat templates do not use:
// inheritance, imports, call blocks, recursive loops, variable arguments.
//
// Pure: any thread.
#pragma once

#include <string_view>

#include "model/chat/jinja/syntax.h"

namespace catena::jinja {

// INVALID_ARGUMENT that names the line and what is wrong, or not supported. REQUIRES: valid UTF-8.
absl::StatusOr<Block> Parse(std::string_view source);

}  // namespace catena::jinja
