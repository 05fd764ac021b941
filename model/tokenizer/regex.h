// A regular expression of a tokenizer.json, run by PCRE2 (pcre2api(3)) as huggingface/tokenizers
// runs it on Oniguruma (regex_dialect.h), with bounds on pattern, time and memory: a backtracking
// engine can take for ever on a text of a few dozen characters.
//
// Time. A match is first tried with few steps and a short window of the text; where these end
// before it is decided, again with eight times as many. Later tries are paid from a budget of the
// whole text's, so that what a text costs is bounded and does not depend on the machine.
//
// Regex is immutable: any thread, each with its own RegexWorkspace.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/base/status.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

namespace catena {

namespace limits {

// Of all tries beyond first ones for one text: a fixed part, some 0.3 s, and one that grows with
// the text's bytes, which ordinary patterns use a tenth of.
inline constexpr uint64_t kRegexSteps = 20'000'000;
inline constexpr uint64_t kRegexStepsPerByte = 64;
inline constexpr uint32_t kRegexHeapKiB = 64 * 1024;  // for backtracking, where PCRE2 interprets

}  // namespace limits

// What matching one text needs. One thread at a time.
class RegexWorkspace {
 public:
  // `text_bytes`: of the whole text, to all of whose pieces the regular expressions are applied.
  explicit RegexWorkspace(size_t text_bytes);
  ~RegexWorkspace();
  RegexWorkspace(const RegexWorkspace&) = delete;
  RegexWorkspace& operator=(const RegexWorkspace&) = delete;

 private:
  friend class Regex;

  uint64_t steps_left_;
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
};

class Regex {
 public:
  // INVALID_ARGUMENT where the pattern is damaged or not supported. `jit`: compiled to machine code
  // where the machine allows it.
  static absl::StatusOr<std::shared_ptr<const Regex>> Compile(std::string_view pattern,
                                                              bool jit = true);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // The end of the match that begins at `at`, if there is one. INVALID_ARGUMENT where it costs more
  // than the bounds above. REQUIRES: valid UTF-8, at <= text.size(), where a character begins.
  absl::StatusOr<std::optional<size_t>> MatchAt(std::string_view text, size_t at,
                                                RegexWorkspace* workspace) const;

 private:
  Regex(std::string_view pattern, pcre2_real_code_8* code) : pattern_(pattern), code_(code) {}
  absl::Status TooCostly(size_t at) const;

  std::string pattern_;  // for messages
  pcre2_real_code_8* code_;
};

}  // namespace catena
