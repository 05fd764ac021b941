// Upper and lower case as Python's str has them: Unicode's full mappings. Pure: any thread.
#pragma once

#include <string>
#include <string_view>

namespace catena::jinja {

// REQUIRES, of all: valid UTF-8.
std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Title(std::string_view text);       // each word, as str.title cuts them
std::string Capitalize(std::string_view text);  // the first character

}  // namespace catena::jinja
