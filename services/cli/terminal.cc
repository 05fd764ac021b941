#include "services/cli/terminal.h"

#include <algorithm>
#include <cmath>

#include <unicode/uchar.h>
#include <unicode/utf8.h>

namespace catena::cli {
namespace {

// The code point at *at, which moves on; ill-formed bytes are U+FFFD.
UChar32 Next(std::string_view text, size_t* at) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  int32_t i = static_cast<int32_t>(*at);
  UChar32 c;
  U8_NEXT_OR_FFFD(bytes, i, static_cast<int32_t>(text.size()), c);
  *at = static_cast<size_t>(i);
  return c;
}

int Cells(UChar32 c) {
  const int type = u_charType(c);
  if (type == U_NON_SPACING_MARK || type == U_ENCLOSING_MARK || type == U_FORMAT_CHAR) return 0;
  const int width = u_getIntPropertyValue(c, UCHAR_EAST_ASIAN_WIDTH);
  return width == U_EA_WIDE || width == U_EA_FULLWIDTH ? 2 : 1;
}

}  // namespace

std::string Visible(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const UChar32 c = Next(text, &at);
    if (c == ' ') {
      out += "␣";
    } else if (c == '\n') {
      out += "↵";
    } else if (c == '\t') {
      out += "⇥";
    } else if (c < 32 || u_charType(c) == U_CONTROL_CHAR) {
      out += "·";
    } else {
      out += c == 0xFFFD ? "\uFFFD" : std::string(text.substr(begin, at - begin));
    }
  }
  return out;
}

std::string Fit(std::string_view text, int cells) {
  size_t fits = 0;  // bytes that leave room for "…"
  int used = 0, used_at_fits = 0;
  size_t at = 0;
  while (at < text.size()) {
    const int wide = Cells(Next(text, &at));
    if (used + wide > cells) {
      return std::string(text.substr(0, fits)) + "…" + std::string(cells - used_at_fits - 1, ' ');
    }
    used += wide;
    if (used <= cells - 1) {
      fits = at;
      used_at_fits = used;
    }
  }
  return std::string(text) + std::string(cells - used, ' ');
}

std::string Bar(double share, int cells) {
  constexpr const char* kEighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
  int eighths = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * cells * 8));
  std::string out;
  for (int i = 0; i < cells; ++i, eighths = std::max(0, eighths - 8)) {
    out += kEighths[std::min(eighths, 8)];
  }
  return out;
}

}  // namespace catena::cli
