#include "model/tokenizer/normalizer.h"

#include <algorithm>
#include <cstdint>

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include "model/tokenizer/unicode.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

// ICU puts combining marks in order by insertion, quadratic in the length of a run of them. Longer
// runs than any script has are put in order here, which is what canonical ordering would do.
constexpr size_t kLongMarkRun = 64;

std::string OrderLongMarkRuns(std::string_view text) {
  struct Mark {
    std::string_view bytes;
    uint8_t combining_class;
  };
  std::string out;
  std::vector<Mark> run;
  const auto flush = [&] {
    if (run.size() > kLongMarkRun) {
      std::stable_sort(run.begin(), run.end(), [](const Mark& a, const Mark& b) {
        return a.combining_class < b.combining_class;
      });
    }
    for (const Mark& m : run) out.append(m.bytes);
    run.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = ReadCodePoint(text, i);
    const uint8_t cls = c.value < 0x300 ? 0 : u_getCombiningClass(static_cast<UChar32>(c.value));
    if (cls == 0) flush();
    run.push_back({text.substr(i, c.size), cls});
    if (cls == 0) flush();
    i += c.size;
  }
  flush();
  return out;
}

std::string ToNfc(std::string_view text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(error);
  if (U_FAILURE(error)) return std::string(text);  // ICU's data is linked in: cannot fail
  const std::string ordered = OrderLongMarkRuns(text);
  std::string out;
  icu::StringByteSink<std::string> sink(&out, static_cast<int32_t>(ordered.size()));
  nfc->normalizeUTF8(0, ordered, sink, nullptr, error);
  return U_FAILURE(error) ? std::string(text) : out;
}

std::string Squeeze(std::string_view text, std::string_view content) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t spaces = std::min(text.find_first_not_of(' ', at), text.size()) - at;
    const size_t end = spaces > 0 ? at + spaces : std::min(text.find(' ', at), text.size());
    out.append(spaces > 1 ? content : text.substr(at, end - at));
    at = end;
  }
  return out;
}

std::string_view Strip(std::string_view text, const StripStep& step) {
  const auto is_space = [](char32_t c) { return (CharClasses::Get()(c) & kSpace) != 0; };
  while (step.left && !text.empty()) {
    const CodePoint c = ReadCodePoint(text, 0);
    if (!is_space(c.value)) break;
    text.remove_prefix(c.size);
  }
  while (step.right && !text.empty()) {
    const CodePoint c = ReadCodePointBefore(text, text.size());
    if (!is_space(c.value)) break;
    text.remove_suffix(c.size);
  }
  return text;
}

}  // namespace

std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  size_t at = 0;
  for (size_t hit; (hit = text.find(pattern, at)) != std::string_view::npos;) {
    out.append(text, at, hit - at).append(content);
    at = hit + pattern.size();
  }
  out.append(text, at);
  return out;
}

std::string Normalizer::Apply(std::string_view text) const {
  std::string out(text);
  for (const NormalizerStep& step : steps_) {
    if (const auto* prepend = std::get_if<PrependStep>(&step)) {
      if (!out.empty()) out.insert(0, prepend->text);
    } else if (const auto* replace = std::get_if<ReplaceStep>(&step)) {
      out = ReplaceAll(out, replace->pattern, replace->content);
    } else if (const auto* squeeze = std::get_if<SqueezeStep>(&step)) {
      out = Squeeze(out, squeeze->content);
    } else if (const auto* strip = std::get_if<StripStep>(&step)) {
      out = std::string(Strip(out, *strip));
    } else if (const auto* charsmap = std::get_if<CharsmapStep>(&step)) {
      out = charsmap->map->Apply(out);
    } else if (!IsAscii(out)) {
      out = ToNfc(out);
    }
  }
  return out;
}

}  // namespace catena
