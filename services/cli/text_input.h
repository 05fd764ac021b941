// What a command reads as its text: words or ids, on the command line or on stdin, which may be
// endless and is read up to a limit (model/file_limits.h).
#pragma once

#include <istream>
#include <string>
#include <string_view>
#include <vector>

#include "services/cli/model_options.h"
#include "services/cli/text_source.h"

namespace catena::cli {

class TextInput {
 public:
  std::string text;
  std::string ids;

  // Declares the text as `text_option` ("-p,--prompt", or "text" for a positional), which it
  // returns, and --prompt-tokens.
  Option Declare(App& app, const char* text_option, const char* help);
  // Text, of stdin where it is "-", or ids. INVALID_ARGUMENT where there is nothing.
  absl::StatusOr<TextPrompt> Prompt() const;
  // The same as ids. INVALID_ARGUMENT also where there are more than the context.
  absl::StatusOr<std::vector<int32_t>> Read(const Model& model) const;

 private:
  std::optional<Option> words_, ids_;  // once declared
};

// The whole stream. INVALID_ARGUMENT where it is longer than a prompt may be.
absl::StatusOr<std::string> ReadAll(std::istream& in);
// The next line without its end; false at the end of the stream. The same error.
absl::StatusOr<bool> ReadLine(std::istream& in, std::string* line);

// "1,2,3" as ids. INVALID_ARGUMENT that shows what is no id.
absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view text);

}  // namespace catena::cli
