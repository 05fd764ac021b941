// The expressions of Jinja's grammar; see parser.h. Each takes what it is made of from the reader
// and leaves what follows. INVALID_ARGUMENT that names the line.
//
// Thread rules: one thread a reader.
#pragma once

#include "model/chat/jinja/syntax.h"
#include "model/chat/jinja/token_reader.h"

namespace catena::jinja {

absl::StatusOr<ExprPtr> ParseExpr(TokenReader* in);
// a, b, … without brackets is a list. Without `conditional`, "if" ends it.
absl::StatusOr<ExprPtr> ParseTuple(TokenReader* in, bool conditional = true);
// Behind "|": filters, one or more, of the operand, or of the text of a block (null).
absl::StatusOr<ExprPtr> ParseFilters(TokenReader* in, ExprPtr operand);

}  // namespace catena::jinja
