#include "model/tokenizer/pre_tokenizer.h"

#include "model/tokenizer/unicode.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

// The size of the piece that Digits cuts at `at`.
size_t ScanDigits(const DigitsStage& digits, std::string_view text, size_t at) {
  const CharClasses& classes = CharClasses::Get();
  const auto is_number = [&](CodePoint c) { return (classes(c.value) & kNumber) != 0; };
  const CodePoint first = ReadCodePoint(text, at);
  size_t end = at + first.size;
  if (is_number(first) && digits.individual) return first.size;
  while (end < text.size()) {
    const CodePoint c = ReadCodePoint(text, end);
    if (is_number(c) != is_number(first)) break;
    end += c.size;
  }
  return end - at;
}

}  // namespace

void PreTokenizer::Run(size_t stage, std::string_view piece, bool first, Emit emit) const {
  if (stage == stages_.size()) return emit(piece);
  const PreTokenizerStage& s = stages_[stage];
  if (const auto* digits = std::get_if<DigitsStage>(&s)) {
    for (size_t at = 0, n; at < piece.size(); at += n) {
      n = ScanDigits(*digits, piece, at);
      Run(stage + 1, piece.substr(at, n), first && at == 0, emit);
    }
  } else if (const auto* split = std::get_if<SplitStage>(&s)) {
    for (size_t at = 0, n; at < piece.size(); at += n) {
      n = ScanWord(split->pattern, piece, at);
      Run(stage + 1, piece.substr(at, n), first && at == 0, emit);
    }
  } else if (const auto* metaspace = std::get_if<MetaspaceStage>(&s)) {
    RunMetaspace(*metaspace, stage, piece, first, emit);
  } else if (piece.front() == ' ') {
    Run(stage + 1, piece, first, emit);
  } else {
    Run(stage + 1, " " + std::string(piece), first, emit);
  }
}

void PreTokenizer::RunMetaspace(const MetaspaceStage& m, size_t stage, std::string_view piece,
                                bool first, Emit emit) const {
  std::string text;
  const bool wants_prefix = m.prefix == MetaspaceStage::Prefix::kAlways ||
                            (m.prefix == MetaspaceStage::Prefix::kFirst && first);
  if (wants_prefix && piece.front() != ' ' && !piece.starts_with(m.replacement)) {
    text = m.replacement;
  }
  for (const char c : piece) c == ' ' ? text.append(m.replacement) : text.append(1, c);
  const std::string_view all = text;
  size_t at = 0;
  while (m.split && at < all.size()) {
    const size_t next = all.find(m.replacement, at + 1);
    if (next == std::string_view::npos) break;
    Run(stage + 1, all.substr(at, next - at), first && at == 0, emit);
    at = next;
  }
  Run(stage + 1, all.substr(at), first && at == 0, emit);
}

}  // namespace catena
