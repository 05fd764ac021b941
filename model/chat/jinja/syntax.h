// A Jinja template as a tree. Made by Parse, read by the interpreter; immutable.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/chat/jinja/value.h"

namespace catena::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<const Expr>;

struct Argument {
  std::string name;  // "": by position
  ExprPtr value;
};

struct Expr {
  enum class Kind {
    kLiteral,      // literal
    kName,         // text
    kList,         // kids
    kDict,         // kids: key, value, key, value, …
    kUnary,        // text: "-", "+", "not"; kids[0]
    kBinary,       // text: an operator, "and", "or"; kids[0], kids[1]
    kCompare,      // texts[i] between kids[i] and kids[i + 1]
    kConditional,  // kids: condition, then, else (may be null)
    kAttribute,    // kids[0].text
    kItem,         // kids[0][kids[1]]
    kSlice,        // kids[0][kids[1]:kids[2]:kids[3]], of which the last three may be null
    kCall,         // kids[0](arguments)
    kFilter,       // kids[0] | text(arguments)
    kTest,         // kids[0] is text(arguments)
  };
  Kind kind;
  int line = 0;
  int depth = 1;  // of the tree under it, itself counted
  std::string text;
  std::vector<std::string> texts;
  Value literal;
  std::vector<ExprPtr> kids;
  std::vector<Argument> arguments;
};

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum class Kind {
    kText,      // text
    kOutput,    // expr
    kIf,        // expr, body, otherwise
    kFor,       // names in expr where condition holds: body; otherwise where there is none
    kSet,       // names = expr, or text.names[0] = expr where text is a namespace
    kSetBlock,  // names[0] = what body writes, through `expr`, a filter of it, where there is one
    kFilter,    // what body writes, through expr
    kMacro,     // macro
    kBreak,
    kContinue,
    kBlock,  // body, as it stands (generation)
  };
  Kind kind;
  int line = 0;
  std::string text = {};
  std::vector<std::string> names = {};
  ExprPtr expr = nullptr, condition = nullptr;
  Block body = {}, otherwise = {};
  std::shared_ptr<const Macro> macro = nullptr;
};

struct Macro {
  struct Parameter {
    std::string name;
    ExprPtr absent;  // its value where none is given; null: undefined
  };
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
};

}  // namespace catena::jinja
