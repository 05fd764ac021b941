// A chat template in Jinja, as models ship it: parsed once, rendered for each conversation as
// jinja2 renders it for transformers (trim_blocks, lstrip_blocks, the immutable sandbox,
// raise_exception, strftime_now). tests/model/chat_oracle.py holds it against jinja2.
//
// Templates come from files of strangers: parsing is bounded by depth and length, rendering by
// work, memory, output and depth (Budget in builtins.h).
//
// Immutable; any thread.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "model/chat/jinja/syntax.h"

namespace catena::jinja {

class Template {
 public:
  // INVALID_ARGUMENT that names the line and what is wrong, or not supported.
  static absl::StatusOr<Template> Parse(std::string_view source);

  // The text for these variables, at this time. INVALID_ARGUMENT: where the template refuses them
  // (raise_exception, in its words), cannot do with them what it wants to, or takes too much.
  absl::StatusOr<std::string> Render(const Dict& variables, std::time_t now) const;

 private:
  explicit Template(Block block) : block_(std::make_shared<const Block>(std::move(block))) {}

  std::shared_ptr<const Block> block_;
};

}  // namespace catena::jinja
