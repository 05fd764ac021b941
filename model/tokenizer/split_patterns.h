// The regular expressions by which byte-level tokenizers cut text into words, each as a scanner
// written by hand: faster than PCRE2, which runs all other patterns (regex.h), and linear whatever
// the text. A pattern is known by its exact text; \p{..} and \s are Unicode's.
//
// Every pattern here matches at every position, so that the words are the whole text. Any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "absl/types/span.h"

namespace catena {

enum class SplitPattern {
  kGpt2,    // GPT-2, SmolLM2, StarCoder
  kLlama3,  // Llama 3: digits by three
  kQwen2,   // Qwen 2 and 2.5: single digits
  kGpt4o,   // o200k: Phi-4-mini, GPT-4o; words also end where capitals begin
};

struct KnownSplitPattern {
  std::string_view regex;
  SplitPattern pattern;
};
// All texts that are known; some patterns have several.
absl::Span<const KnownSplitPattern> KnownSplitPatterns();

// The pattern with this text, or nullopt.
std::optional<SplitPattern> FindSplitPattern(std::string_view regex);

// The size in bytes of the word that starts at `at`. REQUIRES: valid UTF-8, at < text.size().
size_t ScanWord(SplitPattern pattern, std::string_view text, size_t at);

}  // namespace catena
