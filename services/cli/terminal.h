// Text in columns of a terminal.
#pragma once

#include <string>
#include <string_view>

namespace catena::cli {

// With white space and control characters made visible: "␣the", "↵", "⇥".
std::string Visible(std::string_view text);

// Cut with "…" or padded with spaces to exactly `cells` columns.
std::string Fit(std::string_view text, int cells);

// A bar of `cells` columns, filled to `share` in [0, 1] in eighths.
std::string Bar(double share, int cells);

}  // namespace catena::cli
