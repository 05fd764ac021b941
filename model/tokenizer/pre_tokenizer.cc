#include "model/tokenizer/pre_tokenizer.h"

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

// Takes the parts of a text, matches and what lies between them, and makes pieces of them.
class PartJoiner {
 public:
  using Emit = absl::FunctionRef<void(size_t start, size_t end)>;

  PartJoiner(SplitBehavior behavior, Emit emit) : behavior_(behavior), emit_(emit) {}

  // A part from the end of the one before to `end`; it may be empty.
  void Add(size_t end, bool matched) {
    if (!Joins(matched)) Finish();
    if (!matched || behavior_ != SplitBehavior::kRemoved) {
      end_ = end;
    } else {
      start_ = end_ = end;
    }
    any_ = true;
    matched_ = matched;
  }

  void Finish() {
    if (end_ > start_) emit_(start_, end_);
    start_ = end_;
  }

 private:
  // Whether a part belongs to the piece of the one before.
  bool Joins(bool matched) const {
    switch (behavior_) {
      case SplitBehavior::kIsolated:
      case SplitBehavior::kRemoved:
        return false;
      case SplitBehavior::kMergedWithPrevious:
        return matched && !matched_;
      case SplitBehavior::kMergedWithNext:
        return !matched && any_ && matched_;
      case SplitBehavior::kContiguous:
        return matched == matched_;
    }
    return false;
  }

  const SplitBehavior behavior_;
  const Emit emit_;
  size_t start_ = 0, end_ = 0;  // of the piece that is being made
  bool any_ = false;            // there was a part
  bool matched_ = false;        // of the last part
};

// A part that ends at `end`, behind the one before.
using AddPart = absl::FunctionRef<void(size_t end, bool matched)>;

void FindWords(SplitPattern pattern, std::string_view text, AddPart add) {
  for (size_t at = 0; at < text.size();) add(at += ScanWord(pattern, text, at), true);
}

void FindCharacters(CharClass cls, std::string_view text, AddPart add) {
  const CharClasses& classes = CharClasses::Get();
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = ReadCodePoint(text, at);
    if (classes(c.value) & cls) {
      if (done < at) add(at, false);
      add(done = at + c.size, true);
    }
    at += c.size;
  }
  if (done < text.size()) add(text.size(), false);
}

void FindText(const std::string& wanted, std::string_view text, AddPart add) {
  size_t done = 0;
  for (size_t at; (at = text.find(wanted, done)) != std::string_view::npos;) {
    if (done < at) add(at, false);
    add(done = at + wanted.size(), true);
  }
  if (done < text.size()) add(text.size(), false);
}

// As Oniguruma's search goes on from match to match: an empty one may not follow another match.
absl::Status FindMatches(const Regex& regex, std::string_view text, RegexWorkspace* w,
                         AddPart add) {
  size_t done = 0;
  bool matched = false;  // up to `done`
  for (size_t at = 0; at < text.size();) {
    CATENA_ASSIGN_OR_RETURN(const std::optional<size_t> end, regex.MatchAt(text, at, w));
    if (!end || (*end == at && matched && done == at)) {
      at += ReadCodePoint(text, at).size;
      continue;
    }
    if (done < at) add(at, false);
    add(*end, true);
    at = done = *end;
    matched = true;
  }
  if (done < text.size()) add(text.size(), false);
  return absl::OkStatus();
}

}  // namespace

RegexWorkspace* PreTokenizer::Workspace::regex() {
  if (!regex_) regex_.emplace(text_bytes_);
  return &*regex_;
}

absl::Status PreTokenizer::Run(size_t stage, Piece piece, Workspace* w, Emit emit) const {
  if (stage == stages_.size()) {
    std::string bytes;
    if (piece.byte_level) AppendByteLevelDecoded(piece.text, &bytes);
    emit(piece.byte_level ? bytes : piece.text);
    return absl::OkStatus();
  }
  const PreTokenizerStage& s = stages_[stage];
  if (const auto* split = std::get_if<SplitStage>(&s)) {
    return RunSplit(*split, stage, piece, w, emit);
  }
  if (const auto* metaspace = std::get_if<MetaspaceStage>(&s)) {
    return RunMetaspace(*metaspace, stage, piece, w, emit);
  }
  if (std::holds_alternative<ByteLevelStage>(s)) return RunByteLevel(stage, piece, w, emit);
  if (piece.text.front() == ' ') return Run(stage + 1, piece, w, emit);
  const std::string prefixed = " " + std::string(piece.text);
  piece.text = prefixed;
  return Run(stage + 1, piece, w, emit);
}

absl::Status PreTokenizer::RunSplit(const SplitStage& split, size_t stage, Piece piece,
                                    Workspace* w, Emit emit) const {
  const std::string_view text = piece.text;
  absl::Status status;
  const auto run = [&](size_t start, size_t end) {
    if (!status.ok()) return;
    const Piece part = {text.substr(start, end - start), piece.first && start == 0,
                        piece.byte_level};
    status = Run(stage + 1, part, w, emit);
  };
  PartJoiner joiner(split.behavior, run);  // keeps a reference
  const auto add = [&](size_t end, bool matched) { joiner.Add(end, matched != split.invert); };
  if (const auto* pattern = std::get_if<SplitPattern>(&split.separator)) {
    FindWords(*pattern, text, add);
  } else if (const auto* cls = std::get_if<CharClass>(&split.separator)) {
    FindCharacters(*cls, text, add);
  } else if (const auto* wanted = std::get_if<std::string>(&split.separator)) {
    FindText(*wanted, text, add);
  } else {
    const Regex& regex = *std::get<std::shared_ptr<const Regex>>(split.separator);
    CATENA_RETURN_IF_ERROR(FindMatches(regex, text, w->regex(), add));
  }
  joiner.Finish();
  return status;
}

absl::Status PreTokenizer::RunMetaspace(const MetaspaceStage& m, size_t stage, Piece piece,
                                        Workspace* w, Emit emit) const {
  std::string text;
  const bool wants_prefix = m.prefix == MetaspaceStage::Prefix::kAlways ||
                            (m.prefix == MetaspaceStage::Prefix::kFirst && piece.first);
  if (wants_prefix && piece.text.front() != ' ' && !piece.text.starts_with(m.replacement)) {
    text = m.replacement;
  }
  for (const char c : piece.text) c == ' ' ? text.append(m.replacement) : text.append(1, c);
  const std::string_view all = text;
  size_t at = 0;
  while (m.split && at < all.size()) {
    const size_t next = all.find(m.replacement, at + 1);
    if (next == std::string_view::npos) break;
    CATENA_RETURN_IF_ERROR(Run(
        stage + 1, {all.substr(at, next - at), piece.first && at == 0, piece.byte_level}, w, emit));
    at = next;
  }
  return Run(stage + 1, {all.substr(at), piece.first && at == 0, piece.byte_level}, w, emit);
}

absl::Status PreTokenizer::RunByteLevel(size_t stage, Piece piece, Workspace* w, Emit emit) const {
  std::string encoded;
  AppendByteLevelEncoded(piece.text, &encoded);
  return Run(stage + 1, {encoded, piece.first, true}, w, emit);
}

}  // namespace catena
