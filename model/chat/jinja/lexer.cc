#include "model/chat/jinja/lexer.h"

#include <algorithm>
#include <charconv>

#include "model/chat/jinja/value.h"
#include "model/tokenizer/utf8.h"

namespace catena::jinja {
namespace {

using Kind = Token::Kind;

constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "*",
                                           "/",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                           ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsBlank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Ends of lines made "\n", and the one at the end left out.
std::string NormalLines(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    const bool cr = source[i] == '\r';
    if (cr && i + 1 < source.size() && source[i + 1] == '\n') continue;
    out += cr ? '\n' : source[i];
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < source_.size()) {
      const size_t tag = FindTag();
      if (tag == source_.npos) {
        AddText(source_.substr(at_));
        at_ = source_.size();
        break;
      }
      const char kind = source_[tag + 1];
      AddText(BeforeTag(tag, /*block=*/kind != '{'));
      Advance(tag + 2);
      if (Peek() == '-' || (Peek() == '+' && kind != '{')) Advance(at_ + 1);
      if (kind == '#') {
        CATENA_RETURN_IF_ERROR(SkipComment());
      } else if (kind == '%' && IsRaw()) {
        CATENA_RETURN_IF_ERROR(TakeRaw());
      } else {
        CATENA_RETURN_IF_ERROR(TakeTag(kind == '{'));
      }
    }
    Add(Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  char Peek(size_t ahead = 0) const {
    return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0';
  }
  bool At(std::string_view text) const { return source_.substr(at_).starts_with(text); }
  void Advance(size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }
  void Add(Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void AddText(std::string_view text) {
    if (!text.empty()) Add(Kind::kText, std::string(text));
  }
  absl::Status Error(std::string_view what) const { return ErrorAt(line_, what); }

  size_t FindTag() const {
    for (size_t i = at_; i + 1 < source_.size(); ++i) {
      const char next = source_[i + 1];
      if (source_[i] == '{' && (next == '{' || next == '%' || next == '#')) return i;
    }
    return source_.npos;
  }

  // The text up to a tag, without the white space that the tag takes: all of it where the tag
  // begins with "-", that at the start of its line where it is a block.
  std::string_view BeforeTag(size_t tag, bool block) const {
    const std::string_view text = source_.substr(at_, tag - at_);
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign == '-') return Strip(text, Side::kRight);
    if (sign == '+' || !block) return text;
    const size_t newline = text.rfind('\n');
    if (newline == text.npos && at_ != 0 && source_[at_ - 1] != '\n') return text;
    const size_t line = newline == text.npos ? 0 : newline + 1;
    return Strip(text.substr(line), Side::kLeft).empty() ? text.substr(0, line) : text;
  }

  void SkipSpace() {
    const std::string_view rest = source_.substr(at_);
    Advance(at_ + rest.size() - Strip(rest, Side::kLeft).size());
  }
  // Behind a tag: what its end takes with it.
  void AfterEnd(char sign, bool block) {
    if (sign == '-') return SkipSpace();
    if (block && sign != '+' && Peek() == '\n') Advance(at_ + 1);
  }

  absl::Status SkipComment() {
    const size_t end = source_.find("#}", at_);
    if (end == source_.npos) return Error("a comment has no end");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    Advance(end + 2);
    AfterEnd(sign, true);
    return absl::OkStatus();
  }

  // Behind "{%": whether the tag is of that one word; where it ends, and with which sign.
  bool IsWord(size_t at, std::string_view word, size_t* end, char* sign) const {
    while (at < source_.size() && IsBlank(source_[at])) ++at;
    if (!source_.substr(at).starts_with(word)) return false;
    at += word.size();
    while (at < source_.size() && IsBlank(source_[at])) ++at;
    *sign = at < source_.size() ? source_[at] : '\0';
    if (*sign == '-' || *sign == '+') ++at;
    *end = at + 2;
    return source_.substr(at).starts_with("%}");
  }
  bool IsRaw() const {
    size_t end;
    char sign;
    return IsWord(at_, "raw", &end, &sign);
  }
  absl::Status TakeRaw() {
    size_t end = 0;
    char sign = '\0';
    IsWord(at_, "raw", &end, &sign);
    Advance(end);
    if (sign == '-') SkipSpace();
    for (size_t tag = at_; (tag = source_.find("{%", tag)) != source_.npos; ++tag) {
      const size_t word =
          tag + 2 +
          (tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+'));
      if (!IsWord(word, "endraw", &end, &sign)) continue;
      AddText(BeforeTag(tag, true));
      Advance(end);
      AfterEnd(sign, true);
      return absl::OkStatus();
    }
    return Error("{% raw %} has no {% endraw %}");
  }

  // The tokens of a tag, and its end.
  absl::Status TakeTag(bool output) {
    const std::string_view close = output ? "}}" : "%}";
    std::string open;  // brackets that are
    Add(output ? Kind::kOutputBegin : Kind::kBlockBegin, "");
    while (true) {
      while (IsBlank(Peek())) Advance(at_ + 1);
      if (at_ >= source_.size()) return Error("a tag has no end");
      const bool minus = Peek() == '-', plus = Peek() == '+' && !output;
      if (open.empty() && source_.substr(at_ + (minus || plus)).starts_with(close)) {
        Add(output ? Kind::kOutputEnd : Kind::kBlockEnd, "");
        Advance(at_ + (minus || plus) + 2);
        AfterEnd(minus ? '-' : plus ? '+' : '\0', !output);
        return absl::OkStatus();
      }
      CATENA_RETURN_IF_ERROR(TakeToken(&open));
    }
  }

  absl::Status TakeToken(std::string* open) {
    const char c = Peek();
    if (c == '\'' || c == '"') return TakeString(c);
    if (IsDigit(c)) return TakeNumber();
    if (IsNameStart(c)) {
      size_t end = at_;
      while (end < source_.size() && (IsNameStart(source_[end]) || IsDigit(source_[end]))) ++end;
      Add(Kind::kName, std::string(source_.substr(at_, end - at_)));
      Advance(end);
      return absl::OkStatus();
    }
    for (const std::string_view op : kOperators) {
      if (!At(op)) continue;
      constexpr std::string_view kOpen = "([{", kClose = ")]}";
      if (kOpen.find(op) != kOpen.npos) *open += op;
      if (const size_t k = kClose.find(op); k != kClose.npos) {
        if (open->empty() || open->back() != kOpen[k]) {
          return Error(fmt::format("\"{}\" closes nothing", op));
        }
        open->pop_back();
      }
      Add(Kind::kOperator, std::string(op));
      Advance(at_ + op.size());
      return absl::OkStatus();
    }
    return Error(fmt::format("unexpected {}", Quoted(source_.substr(at_, 1))));
  }

  absl::Status TakeNumber() {
    size_t end = at_;
    const auto digits = [&] {
      while (end < source_.size() && (IsDigit(source_[end]) || source_[end] == '_')) ++end;
    };
    bool is_float = false;
    digits();
    if (end + 1 < source_.size() && source_[end] == '.' && IsDigit(source_[end + 1])) {
      is_float = true;
      ++end;
      digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '-' || source_[exponent] == '+')) {
        ++exponent;
      }
      if (exponent < source_.size() && IsDigit(source_[exponent])) {
        is_float = true;
        end = exponent;
        digits();
      }
    }
    std::string text(source_.substr(at_, end - at_));
    std::erase(text, '_');
    Add(is_float ? Kind::kFloat : Kind::kInteger, text);
    Advance(end);
    return absl::OkStatus();
  }

  absl::Status TakeString(char quote) {
    std::string text;
    size_t i = at_ + 1;
    while (i < source_.size() && source_[i] != quote) {
      if (source_[i] == '\\' && i + 1 < source_.size()) {
        i = TakeEscape(i + 1, &text);
      } else {
        text += source_[i++];
      }
    }
    if (i >= source_.size()) return Error("a text in quotes has no end");
    Add(Kind::kString, ToValidUtf8(text));
    Advance(i + 1);
    return absl::OkStatus();
  }

  // The escape whose letter is at `i`; where it ends. Those that Python does not know stand for
  // themselves.
  size_t TakeEscape(size_t i, std::string* text) const {
    constexpr std::string_view kLetters = "ntrabfv0\\'\"", kValues("\n\t\r\a\b\f\v\0\\'\"", 11);
    const char c = source_[i];
    if (c == '\n') return i + 1;
    if (const size_t k = kLetters.find(c); k != kLetters.npos) {
      *text += kValues[k];
      return i + 1;
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    const std::string_view hex = source_.substr(i + 1, digits);
    uint32_t code = 0;
    const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
    const bool whole = digits > 0 && hex.size() == digits && end == hex.data() + digits;
    if (error != std::errc() || !whole || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      *text += '\\';
      return i;
    }
    AppendCodePoint(code, text);
    return i + 1 + digits;
  }

  const std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Lex(std::string_view source) {
  const std::string lines = NormalLines(source);
  return Lexer(lines).Run();
}

absl::Status ErrorAt(int line, std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("chat template, line {}: {}", line, what));
}

}  // namespace catena::jinja
