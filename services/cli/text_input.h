// What a command reads as its text: words or ids, on the command line or on stdin.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "services/cli/model_options.h"

namespace catena::cli {

class TextInput {
 public:
  std::string text;
  std::string ids;

  // Declares the text as `text_option` ("-p,--prompt", or "text" for a positional), and
  // --prompt-tokens.
  void Declare(CLI::App& app, const char* text_option, const char* help);
  // INVALID_ARGUMENT where there is nothing, or more than the context.
  absl::StatusOr<std::vector<int32_t>> Read(const Model& model) const;

 private:
  CLI::Option* words_ = nullptr;
  CLI::Option* ids_ = nullptr;
};

// "1,2,3" as ids. INVALID_ARGUMENT that shows what is no id.
absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view text);

}  // namespace catena::cli
