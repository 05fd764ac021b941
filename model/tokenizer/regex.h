// A regular expression of a tokenizer.json, run by PCRE2 (pcre2api(3)) as huggingface/tokenizers
// runs it on Oniguruma (regex_dialect.h), with bounds on pattern, time and memory: a backtracking
// engine can take for ever on a text of a few dozen characters.
//
// Time. What matching a text costs is counted in steps, of up to a nanosecond in machine code, by
// callouts that the translation puts into the pattern (regex_dialect.h): for each of them, and for
// each byte of the text that was passed since the one before. They come in the same order with
// machine code and without, so that which texts are refused does not depend on the machine.
//
// Regex is immutable: any thread, each with its own RegexWorkspace.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/base/status.h"

struct pcre2_callout_block_8;
struct pcre2_real_code_8;
struct pcre2_real_jit_stack_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;

namespace catena {

namespace limits {

// For one text: a fixed part, about a second, or some where PCRE2 interprets, and one that grows
// with the text's bytes, of which published patterns use a tenth, and the dearest (jais-2) two
// thirds.
inline constexpr uint64_t kRegexSteps = 2'000'000'000;
inline constexpr uint64_t kRegexStepsPerByte = 512;
inline constexpr uint32_t kRegexHeapKiB = 64 * 1024;  // for backtracking, where PCRE2 interprets

}  // namespace limits

// What matching one text needs. One thread at a time.
class RegexWorkspace {
 public:
  // `text_bytes`: of the whole text, to all of whose pieces the regular expressions are applied.
  // `steps`: the fixed part.
  explicit RegexWorkspace(size_t text_bytes, uint64_t steps = limits::kRegexSteps);
  ~RegexWorkspace();
  RegexWorkspace(const RegexWorkspace&) = delete;
  RegexWorkspace& operator=(const RegexWorkspace&) = delete;

  uint64_t steps_left() const { return steps_left_; }

 private:
  friend class Regex;
  static int Count(pcre2_callout_block_8* callout, void* workspace);

  uint64_t steps_left_;
  uint64_t callout_steps_ = 0;  // of the pattern that is being matched
  size_t passed_ = 0;           // where in the text its last callout was
  pcre2_real_jit_stack_8* stack_;
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
  // than the bounds above. Matches that a search of the text from its start does not come to may be
  // left out. REQUIRES: valid UTF-8, at <= text.size(), where a character begins.
  absl::StatusOr<std::optional<size_t>> MatchAt(std::string_view text, size_t at,
                                                RegexWorkspace* workspace) const;

 private:
  Regex(std::string_view pattern, pcre2_real_code_8* code, uint64_t callout_steps)
      : pattern_(pattern), code_(code), callout_steps_(callout_steps) {}
  absl::Status TooCostly(size_t at) const;

  std::string pattern_;  // for messages
  pcre2_real_code_8* code_;
  uint64_t callout_steps_;
};

}  // namespace catena
