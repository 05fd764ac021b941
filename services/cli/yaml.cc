#include "services/cli/yaml.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <string_view>

#include <fmt/format.h>

namespace catena::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxFlowChars = 80;  // of a value on one line
constexpr std::string_view kWords[] = {"true", "false", "null", "yes", "no",
                                       "on",   "off",   "y",    "n",   "nan"};

bool IsPlainChar(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("-_./=:@+").find(c) != std::string_view::npos;
}

// Whether it can stand without quotes and is still a string.
bool IsPlain(const std::string& s) {
  if (s.empty() || s.back() == ':') return false;
  const bool starts_well = std::isalpha(static_cast<unsigned char>(s.front())) != 0 ||
                           s.front() == '/' || s.starts_with("--");
  if (!starts_well || !std::all_of(s.begin(), s.end(), IsPlainChar) || s.starts_with("---")) {
    return false;
  }
  std::string lower;
  std::transform(s.begin(), s.end(), std::back_inserter(lower),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(std::begin(kWords), std::end(kWords), lower) == std::end(kWords);
}

// A string in JSON's quotes is one in YAML's.
std::string Scalar(const Json& value) {
  return value.is_string() && IsPlain(value.get<std::string>()) ? value.get<std::string>()
                                                                : value.dump();
}

bool IsScalar(const Json& value) { return !value.is_structured(); }

// "[a, b]" or "{a: b}", or "" where it does not fit: too long, or something deeper in it.
std::string Flow(const Json& value) {
  if (value.empty()) return value.dump();
  if (!std::all_of(value.begin(), value.end(), IsScalar)) return "";
  std::string text;
  for (const auto& [key, item] : value.items()) {
    text += text.empty() ? "" : ", ";
    text += value.is_object() ? fmt::format("{}: {}", Scalar(key), Scalar(item)) : Scalar(item);
  }
  const bool has_flags = value.is_array() && text.find("--") != std::string::npos;
  if (has_flags || text.size() > kMaxFlowChars) return "";
  return value.is_object() ? "{" + text + "}" : "[" + text + "]";
}

// An object at the top of a document, and one in a list, has a line a key.
void AppendBlock(const Json& value, int indent, bool first_is_indented, std::string* out);

void AppendValue(const Json& value, int indent, std::string* out) {
  if (IsScalar(value)) {
    *out += fmt::format(" {}\n", Scalar(value));
  } else if (const std::string flow = Flow(value); !flow.empty()) {
    *out += fmt::format(" {}\n", flow);
  } else {
    *out += "\n";
    AppendBlock(value, value.is_array() ? indent : indent + 2, false, out);
  }
}

void AppendBlock(const Json& value, int indent, bool first_is_indented, std::string* out) {
  for (const auto& [key, item] : value.items()) {
    if (!first_is_indented) out->append(static_cast<size_t>(indent), ' ');
    first_is_indented = false;
    if (value.is_object()) {
      *out += Scalar(key) + ":";
      AppendValue(item, indent, out);
    } else if (item.is_object() && !item.empty()) {
      *out += "- ";
      AppendBlock(item, indent + 2, true, out);
    } else {
      *out += "-";
      AppendValue(item, indent + 2, out);
    }
  }
}

}  // namespace

std::string ToYaml(const Json& value) {
  std::string out;
  if (IsScalar(value) || value.empty()) return Scalar(value) + "\n";
  AppendBlock(value, 0, false, &out);
  return out;
}

}  // namespace catena::cli
