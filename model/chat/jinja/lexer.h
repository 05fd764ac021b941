// The text of a Jinja template as tokens, as jinja2 cuts it with trim_blocks and lstrip_blocks,
// which is how transformers sets it up: jinja2's lexer.py.
//
// Pure: any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/status.h"

namespace catena::jinja {

struct Token {
  enum class Kind {
    kText,         // outside of tags
    kOutputBegin,  // {{
    kOutputEnd,    // }}
    kBlockBegin,   // {%
    kBlockEnd,     // %}
    kName,
    kString,  // without its quotes, escapes resolved
    kInteger,
    kFloat,
    kOperator,
    kEnd,  // of the template; always the last
  };
  Kind kind;
  std::string text;
  int line;
};

// INVALID_ARGUMENT that names the line. REQUIRES: valid UTF-8.
absl::StatusOr<std::vector<Token>> Lex(std::string_view source);

// INVALID_ARGUMENT with the line in it, as every error of a template is told.
absl::Status ErrorAt(int line, std::string_view what);

}  // namespace catena::jinja
