// Translates a regular expression of a tokenizer.json, which huggingface/tokenizers runs on
// Oniguruma (https://github.com/kkos/oniguruma, doc/RE), to one that PCRE2 runs alike
// (pcre2pattern(3)). The two differ in what \s, \w, \h, \v, \b and \p{..} are, in classes (nested
// ones, && and [:punct:]), in {n,m}+ and {,m}, in (?m) and in how far (?i) reaches. What cannot be
// said in PCRE2, or would not be the same, is refused by name.
//
// Callouts (pcre2callout(3)) let regex.cc count what a match costs. What PCRE2 may try more than
// once for a match has one: where a repetition begins and ends, where an alternative of a group
// ends, and every few hundred bytes. From one to the next PCRE2 goes through no more than that of
// the pattern, and through the text by repeating one thing at most. The number of a callout is what
// a byte of the text costs there, in regex.h's steps.
//
// Groups do not capture in the result: back-references are refused. Pure functions: any thread.
#pragma once

#include <string>
#include <string_view>

#include "kernels/base/status.h"

namespace catena {

// Published patterns have at most 1 KiB; a list of all of Unicode's letters would have 8.
inline constexpr size_t kMaxRegexBytes = 16384;

// INVALID_ARGUMENT where the pattern is damaged, or asks for what is not supported; the message
// says at which byte, and what works in its place. For PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE.
absl::StatusOr<std::string> TranslateRegex(std::string_view pattern);

}  // namespace catena
