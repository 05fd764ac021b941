#include "model/tokenizer/regex.h"

#include <algorithm>
#include <new>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/tokenizer/regex_dialect.h"

namespace catena {
namespace {

constexpr uint32_t kFirstSteps = 256;     // of a try; words of everyday texts need fewer
constexpr size_t kFirstWindow = 1024;     // bytes behind the place of a try
constexpr uint32_t kGrowth = 8;           // from try to try
constexpr uint32_t kMostSteps = 1 << 26;  // of a try, beyond any budget
constexpr uint32_t kMaxMatchDepth = 1'000'000;
constexpr uint32_t kMaxMatchNesting = 200;

// The end of the character at or behind `end`.
size_t CharacterEnd(std::string_view text, size_t end) {
  while (end < text.size() && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) ++end;
  return end;
}

std::string ErrorText(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

struct FreeCompileContext {
  void operator()(pcre2_compile_context* c) const { pcre2_compile_context_free(c); }
};

}  // namespace

RegexWorkspace::RegexWorkspace(size_t text_bytes)
    : steps_left_(limits::kRegexSteps + limits::kRegexStepsPerByte * text_bytes),
      data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)) {
  if (data_ == nullptr || context_ == nullptr) throw std::bad_alloc();
  pcre2_set_depth_limit(context_, kMaxMatchDepth);
  pcre2_set_heap_limit(context_, limits::kRegexHeapKiB);
}

RegexWorkspace::~RegexWorkspace() {
  pcre2_match_context_free(context_);
  pcre2_match_data_free(data_);
}

absl::StatusOr<std::shared_ptr<const Regex>> Regex::Compile(std::string_view pattern, bool jit) {
  CATENA_ASSIGN_OR_RETURN(const std::string translated, TranslateRegex(pattern));
  const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(
      pcre2_compile_context_create(nullptr));
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), kMaxMatchNesting);
  int error = 0;
  PCRE2_SIZE at = 0;
  // Anchored: MatchAt looks at one place, so that each place has its own bounds.
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &error,
      &at, context.get());
  if (code == nullptr) {
    return absl::InvalidArgumentError(fmt::format(
        "PCRE2 refuses the pattern: {} (at {})", ErrorText(error),
        Quoted(std::string_view(translated).substr(0, at).substr(at > 40 ? at - 40 : 0))));
  }
  std::shared_ptr<const Regex> regex(new Regex(pattern, code));
  // Without machine code, where memory may not be made executable, PCRE2 interprets.
  if (jit) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
  return regex;
}

Regex::~Regex() { pcre2_code_free(code_); }

absl::StatusOr<std::optional<size_t>> Regex::MatchAt(std::string_view text, size_t at,
                                                     RegexWorkspace* w) const {
  uint32_t steps = kFirstSteps, options = PCRE2_NO_UTF_CHECK;
  for (size_t window = kFirstWindow;;) {
    const bool whole = window >= text.size() - at;
    const size_t end = whole ? text.size() : CharacterEnd(text, at + window);
    pcre2_set_match_limit(w->context_, steps);
    // In a part of the text, what would look beyond its end ends the try.
    const int found =
        pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), end, at,
                    options | (whole ? 0 : PCRE2_PARTIAL_HARD), w->data_, w->context_);
    if (found > 0) return pcre2_get_ovector_pointer(w->data_)[1];
    if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (found == PCRE2_ERROR_PARTIAL) {
      window *= kGrowth;
    } else if (found == PCRE2_ERROR_MATCHLIMIT && steps < kMostSteps) {
      steps *= kGrowth;
    } else if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      options |= PCRE2_NO_JIT;  // the interpreter has more room
    } else {
      return TooCostly(at);
    }
    const uint64_t cost = steps + std::min(window, text.size() - at);
    if (cost > w->steps_left_) return TooCostly(at);
    w->steps_left_ -= cost;
  }
}

absl::Status Regex::TooCostly(size_t at) const {
  return absl::InvalidArgumentError(
      fmt::format("the text costs too much time or memory to cut into words by the tokenizer's "
                  "pattern {}, at byte {} of a part of it; break up the long run there",
                  Quoted(pattern_), at));
}

}  // namespace catena
