// Cuts a segment of normalized text into the pieces that BPE encodes one by one: the pre-tokenizers
// Digits, Split, ByteLevel and Metaspace of huggingface/tokenizers, or a sequence of them.
// Immutable; any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"

#include "model/tokenizer/split_patterns.h"

namespace catena {

// Numbers (\p{N}) apart from the rest, each alone or in runs.
struct DigitsStage {
  bool individual = false;
};

// Words of a known regular expression.
struct SplitStage {
  SplitPattern pattern;
};

// A space before a piece that does not start with one.
struct PrefixSpaceStage {};

// Spaces become `replacement`, one goes in front, and pieces start at each where `split`.
struct MetaspaceStage {
  enum class Prefix { kNever, kFirst, kAlways };  // kFirst: of the first segment alone
  std::string replacement = "\xE2\x96\x81";       // U+2581
  Prefix prefix = Prefix::kAlways;
  bool split = true;
};

using PreTokenizerStage = std::variant<DigitsStage, SplitStage, PrefixSpaceStage, MetaspaceStage>;

class PreTokenizer {
 public:
  using Emit = absl::FunctionRef<void(std::string_view)>;

  explicit PreTokenizer(std::vector<PreTokenizerStage> stages = {}) : stages_(std::move(stages)) {}

  // Calls `emit` with each piece, in order; none is empty. `first`: nothing of the text comes
  // before the segment. REQUIRES: valid UTF-8.
  void Split(std::string_view segment, bool first, Emit emit) const {
    if (!segment.empty()) Run(0, segment, first, emit);
  }

 private:
  void Run(size_t stage, std::string_view piece, bool first, Emit emit) const;
  void RunMetaspace(const MetaspaceStage& m, size_t stage, std::string_view piece, bool first,
                    Emit emit) const;

  std::vector<PreTokenizerStage> stages_;
};

}  // namespace catena
