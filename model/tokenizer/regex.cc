#include "model/tokenizer/regex.h"

#include <algorithm>
#include <new>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/tokenizer/regex_dialect.h"

namespace catena {
namespace {

constexpr uint64_t kMatchSteps = 64;    // of a call of MatchAt
constexpr uint64_t kCalloutSteps = 16;  // and of what is between two callouts
constexpr size_t kJitStack = 1 << 20;   // beyond that PCRE2 interprets, which has more room
constexpr uint32_t kMaxMatchDepth = 1'000'000;
constexpr uint32_t kMaxMatchNesting = 200;

std::string ErrorText(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

// What to do about what PCRE2 refuses.
std::string_view Advice(int code) {
  switch (code) {
    case PCRE2_ERROR_LOOKBEHIND_NOT_FIXED_LENGTH:
    case PCRE2_ERROR_LOOKBEHIND_TOO_LONG:
      return "in (?<=..) and (?<!..) let each alternative be of one length, as in (?<=a|bc)";
    case PCRE2_ERROR_PATTERN_TOO_LARGE:
      return "repeat groups and long classes fewer times than {n} says, or use + or *";
    case PCRE2_ERROR_QUANTIFIER_INVALID:
      return "repeat a character, a class or a group, and not ^ or $";
    case PCRE2_ERROR_PARENTHESES_NEST_TOO_DEEP:
      return "nest fewer groups and classes";
    default:
      return "write it with less: characters, classes, groups, + and *";
  }
}

// For published patterns whose cost would grow with the square of a run's length, one that finds
// the same matches from left to right.
std::string_view Cheaper(std::string_view pattern) {
  constexpr struct {
    std::string_view pattern, cheaper;
  } kCheaper[] = {
      // A run of white space has its one match at its start or none: a later place of it has no
      // end that the start does not have.
      {R"(\s+$)", R"((?<!\s)\s+$)"},
      // With fewer than all of the threes, a digit follows.
      {R"((?=(\d{3})+(?!\d)))", R"((?=(?:\d{3})++(?!\d)))"},
      {R"(\d{1,3}(?=(?:\d{3})*\b))", R"(\d{1,3}(?=(?:\d{3})*+\b))"},
  };
  for (const auto& c : kCheaper) {
    if (c.pattern == pattern) return c.cheaper;
  }
  return pattern;
}

struct FreeCompileContext {
  void operator()(pcre2_compile_context* c) const { pcre2_compile_context_free(c); }
};

}  // namespace

RegexWorkspace::RegexWorkspace(size_t text_bytes, uint64_t steps)
    : steps_left_(steps + limits::kRegexStepsPerByte * text_bytes),
      stack_(pcre2_jit_stack_create(kJitStack / 32, kJitStack, nullptr)),
      data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)) {
  if (data_ == nullptr || context_ == nullptr) throw std::bad_alloc();
  pcre2_jit_stack_assign(context_, nullptr, stack_);
  pcre2_set_callout(context_, &Count, this);
  pcre2_set_match_limit(context_, UINT32_MAX);  // Count counts what matters
  pcre2_set_depth_limit(context_, kMaxMatchDepth);
  pcre2_set_heap_limit(context_, limits::kRegexHeapKiB);
}

RegexWorkspace::~RegexWorkspace() {
  pcre2_match_context_free(context_);
  pcre2_match_data_free(data_);
  pcre2_jit_stack_free(stack_);
}

absl::StatusOr<std::shared_ptr<const Regex>> Regex::Compile(std::string_view pattern, bool jit) {
  CATENA_ASSIGN_OR_RETURN(const std::string translated, TranslateRegex(Cheaper(pattern)));
  const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(
      pcre2_compile_context_create(nullptr));
  if (context == nullptr) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), kMaxMatchNesting);
  int error = 0;
  PCRE2_SIZE at = 0;
  // Anchored: MatchAt looks at one place. What PCRE2 looks for at the start of a match would not be
  // counted.
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_ANCHORED |
                        PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_START_OPTIMIZE,
                    &error, &at, context.get());
  if (code == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("PCRE2 refuses the pattern: {}; {}", ErrorText(error), Advice(error)));
  }
  uint32_t behind = 0;
  pcre2_pattern_info(code, PCRE2_INFO_MAXLOOKBEHIND, &behind);
  std::shared_ptr<const Regex> regex(new Regex(pattern, code, kCalloutSteps + behind));
  // Without machine code, where memory may not be made executable, PCRE2 interprets.
  if (jit) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return regex;
}

Regex::~Regex() { pcre2_code_free(code_); }

int RegexWorkspace::Count(pcre2_callout_block* callout, void* workspace) {
  auto* w = static_cast<RegexWorkspace*>(workspace);
  const size_t at = callout->current_position;
  uint64_t steps = w->callout_steps_;
  if (at > w->passed_) steps += (at - w->passed_) * callout->callout_number;
  w->passed_ = at;
  if (steps > w->steps_left_) return PCRE2_ERROR_CALLOUT;
  w->steps_left_ -= steps;
  return 0;
}

absl::StatusOr<std::optional<size_t>> Regex::MatchAt(std::string_view text, size_t at,
                                                     RegexWorkspace* w) const {
  if (w->steps_left_ < kMatchSteps) return TooCostly(at);
  const uint64_t before = w->steps_left_ -= kMatchSteps;
  w->callout_steps_ = callout_steps_;
  int found = PCRE2_ERROR_JIT_STACKLIMIT;
  for (const uint32_t options : {PCRE2_NO_UTF_CHECK, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT}) {
    if (found != PCRE2_ERROR_JIT_STACKLIMIT) break;
    w->steps_left_ = before;  // as if there had been no machine code
    w->passed_ = at;
    found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at, options,
                        w->data_, w->context_);
  }
  if (found > 0) return pcre2_get_ovector_pointer(w->data_)[1];
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  return TooCostly(at);
}

absl::Status Regex::TooCostly(size_t at) const {
  return absl::InvalidArgumentError(
      fmt::format("the text costs too much time or memory to cut into words by the tokenizer's "
                  "pattern {}, at byte {} of a part of it; break up the long run there",
                  Quoted(pattern_), at));
}

}  // namespace catena
