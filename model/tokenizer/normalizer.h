// Rewrites a segment of text before it is cut and encoded: the normalizers Prepend, Replace (of a
// fixed text, or of several spaces), NFC, Strip and Precompiled of huggingface/tokenizers, in
// order. Immutable; any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "model/tokenizer/charsmap.h"

namespace catena {

struct PrependStep {
  std::string text;
};

// REQUIRES: `pattern` is not empty.
struct ReplaceStep {
  std::string pattern, content;
};

// Two or more spaces in a row become `content`.
struct SqueezeStep {
  std::string content;
};

struct NfcStep {};

// White space goes from the ends.
struct StripStep {
  bool left = true, right = true;
};

// REQUIRES: `map` is not null.
struct CharsmapStep {
  std::shared_ptr<const Charsmap> map;
};

using NormalizerStep =
    std::variant<PrependStep, ReplaceStep, SqueezeStep, NfcStep, StripStep, CharsmapStep>;

class Normalizer {
 public:
  explicit Normalizer(std::vector<NormalizerStep> steps = {}) : steps_(std::move(steps)) {}

  bool empty() const { return steps_.empty(); }

  // REQUIRES: valid UTF-8.
  std::string Apply(std::string_view text) const;

 private:
  std::vector<NormalizerStep> steps_;
};

// `text` with each `pattern`, found from the left, replaced. REQUIRES: `pattern` is not empty.
std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content);

}  // namespace catena
