#include "services/cli/text_input.h"

#include <algorithm>
#include <charconv>
#include <iostream>

#include "model/file_limits.h"
#include "runtime/text/prompt.h"

namespace catena::cli {
namespace {

absl::Status TooLong(std::string_view what) {
  return absl::InvalidArgumentError(
      fmt::format("{} is longer than {} bytes, the most that is read", what, limits::kPromptBytes));
}

}  // namespace

Option TextInput::Declare(App& app, const char* text_option, const char* help) {
  words_ = app.AddOption(text_option, &text, help);
  ids_ = app.AddOption("--prompt-tokens", &ids, "The same as ids: 1,2,3").Excludes(*words_);
  return *words_;
}

absl::StatusOr<TextPrompt> TextInput::Prompt() const {
  if (ids_->count() > 0) return ParseIds(ids);
  if (words_->count() == 0) {
    return absl::InvalidArgumentError(
        fmt::format("there is no text; give {}, or --prompt-tokens 1,2,3",
                    words_->name().empty() ? "some" : words_->name() + " TEXT"));
  }
  if (text != "-") return text;
  CATENA_ASSIGN_OR_RETURN(std::string read, ReadAll(std::cin));
  return read;
}

absl::StatusOr<std::vector<int32_t>> TextInput::Read(const Model& model) const {
  CATENA_ASSIGN_OR_RETURN(TextPrompt prompt, Prompt());
  std::vector<int32_t> out;
  if (auto* given = std::get_if<std::vector<int32_t>>(&prompt)) {
    out = std::move(*given);
  } else {
    CATENA_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, model.NeedTokenizer());
    CATENA_ASSIGN_OR_RETURN(out, EncodePrompt(*tokenizer, std::get<std::string>(prompt)));
  }
  CATENA_RETURN_IF_ERROR(
      CheckPrompt(out, model.config().vocab_size, model.config().context_length));
  return out;
}

absl::StatusOr<std::string> ReadAll(std::istream& in) {
  std::string out;
  char buffer[1 << 14];
  while (in.read(buffer, sizeof buffer), in.gcount() > 0) {
    out.append(buffer, static_cast<size_t>(in.gcount()));
    if (out.size() > limits::kPromptBytes) return TooLong("stdin");
  }
  return out;
}

absl::StatusOr<bool> ReadLine(std::istream& in, std::string* line) {
  line->clear();
  std::streambuf* buffer = in.rdbuf();
  constexpr int kEnd = std::char_traits<char>::eof();
  for (int c = buffer->sbumpc(); c != '\n'; c = buffer->sbumpc()) {
    if (c == kEnd) return !line->empty();
    line->push_back(static_cast<char>(c));
    if (line->size() > limits::kPromptBytes) return TooLong("a line of stdin");
  }
  return true;
}

absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view text) {
  std::vector<int32_t> ids;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int32_t id = 0;
    const char *from = text.data() + begin, *to = text.data() + end;
    const auto [stopped, error] = std::from_chars(from, to, id);
    if (error != std::errc() || stopped != to) {
      return absl::InvalidArgumentError(
          fmt::format("--prompt-tokens: {} is no token id; write them as 1,2,3",
                      Quoted(text.substr(begin, end - begin))));
    }
    ids.push_back(id);
    begin = end + 1;
  }
  return ids;
}

}  // namespace catena::cli
