// Cuts a segment of normalized text into the pieces that BPE encodes one by one: the pre-tokenizers
// of huggingface/tokenizers (tokenizers/src/pre_tokenizers, and tokenizer/normalizer.rs for what a
// Split does with the parts), or a sequence of them. Immutable; any thread, each with its own
// Workspace.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"

#include "kernels/base/status.h"
#include "model/tokenizer/regex.h"
#include "model/tokenizer/split_patterns.h"
#include "model/tokenizer/unicode.h"

namespace catena {

// What becomes of the matches of a Split and of what lies between them.
enum class SplitBehavior {
  kIsolated,            // each is a piece
  kRemoved,             // a match is dropped
  kMergedWithPrevious,  // a match goes to what lies before it
  kMergedWithNext,      // or behind it
  kContiguous,          // neighbouring matches are one piece
};

// What a Split looks for.
using Separator = std::variant<SplitPattern,  // words; every place matches
                               CharClass,     // one character of the class
                               std::string,   // this text; not empty
                               std::shared_ptr<const Regex>>;

struct SplitStage {
  Separator separator;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;  // what lies between matches counts as the matches
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

// Later stages see bytes as byte_level.h spells them; what comes out in the end are bytes again.
struct ByteLevelStage {};

using PreTokenizerStage =
    std::variant<SplitStage, PrefixSpaceStage, MetaspaceStage, ByteLevelStage>;

class PreTokenizer {
 public:
  using Emit = absl::FunctionRef<void(std::string_view)>;

  // For one text.
  class Workspace {
   public:
    explicit Workspace(size_t text_bytes) : text_bytes_(text_bytes) {}

   private:
    friend class PreTokenizer;
    RegexWorkspace* regex();

    size_t text_bytes_;
    std::optional<RegexWorkspace> regex_;  // made where it is needed
  };

  explicit PreTokenizer(std::vector<PreTokenizerStage> stages = {}) : stages_(std::move(stages)) {}

  // Calls `emit` with each piece, in order; none is empty. `first`: nothing of the text comes
  // before the segment. INVALID_ARGUMENT where a regular expression takes too long on the segment
  // (regex.h). REQUIRES: valid UTF-8.
  absl::Status Split(std::string_view segment, bool first, Workspace* workspace, Emit emit) const {
    return segment.empty() ? absl::OkStatus() : Run(0, {segment, first, false}, workspace, emit);
  }

 private:
  struct Piece {
    std::string_view text;
    bool first;       // nothing of the whole text comes before it
    bool byte_level;  // spelled as in byte_level.h
  };

  absl::Status Run(size_t stage, Piece piece, Workspace* w, Emit emit) const;
  absl::Status RunSplit(const SplitStage& split, size_t stage, Piece piece, Workspace* w,
                        Emit emit) const;
  absl::Status RunMetaspace(const MetaspaceStage& m, size_t stage, Piece piece, Workspace* w,
                            Emit emit) const;
  absl::Status RunByteLevel(size_t stage, Piece piece, Workspace* w, Emit emit) const;

  std::vector<PreTokenizerStage> stages_;
};

}  // namespace catena
