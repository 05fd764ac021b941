#include "model/chat/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "model/tokenizer/unicode.h"
#include "model/tokenizer/utf8.h"

namespace catena::jinja {
namespace {

constexpr int kMaxNesting = 100;  // of what is written: deeper is cut with "..."

std::string FloatText(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", v);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// A text as Python's repr quotes it.
std::string Repr(std::string_view text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + quote;
}

void AppendText(const Value& v, int depth, std::string* out);

void AppendItem(const Value& v, int depth, std::string* out) {
  if (const auto* text = v.If<std::string>()) {
    *out += Repr(*text);
  } else if (depth > kMaxNesting) {
    *out += "...";
  } else {
    AppendText(v, depth, out);
  }
}

void AppendText(const Value& v, int depth, std::string* out) {
  if (const auto* text = v.If<std::string>()) {
    *out += *text;
  } else if (v.Is<None>()) {
    *out += "None";
  } else if (const auto* b = v.If<bool>()) {
    *out += *b ? "True" : "False";
  } else if (const auto* i = v.If<int64_t>()) {
    *out += fmt::format("{}", *i);
  } else if (const auto* d = v.If<double>()) {
    *out += FloatText(*d);
  } else if (const auto* list = v.If<List>()) {
    *out += '[';
    for (size_t k = 0; k < list->size(); ++k) {
      if (k > 0) *out += ", ";
      AppendItem((*list)[k], depth + 1, out);
    }
    *out += ']';
  } else if (const auto* dict = v.If<Dict>()) {
    *out += '{';
    for (size_t k = 0; k < dict->size(); ++k) {
      if (k > 0) *out += ", ";
      *out += Repr((*dict)[k].first) + ": ";
      AppendItem((*dict)[k].second, depth + 1, out);
    }
    *out += '}';
  } else if (v.IfNamespace() != nullptr) {
    *out += "<Namespace>";
  } else if (const auto* callable = v.If<Callable>()) {
    *out += fmt::format("<function {}>", callable->name);
  }  // what is undefined is nothing
}

std::string JsonText(std::string_view text) {
  using nlohmann::json;
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

class JsonWriter {
 public:
  JsonWriter(std::optional<int64_t> indent, std::string* out) : indent_(indent), out_(out) {}

  absl::Status Write(const Value& v, int64_t depth) {
    if (depth > kMaxNesting) return absl::InvalidArgumentError("tojson: nested too deep");
    if (const auto* text = v.If<std::string>()) {
      *out_ += JsonText(*text);
    } else if (v.Is<None>()) {
      *out_ += "null";
    } else if (const auto* b = v.If<bool>()) {
      *out_ += *b ? "true" : "false";
    } else if (v.Is<int64_t>() || v.Is<double>()) {
      *out_ += Text(v);
    } else if (const auto* list = v.If<List>()) {
      return WriteAll('[', ']', list->size(), depth,
                      [&](size_t k) { return Write((*list)[k], depth + 1); });
    } else if (const auto* dict = v.If<Dict>()) {
      return WriteAll('{', '}', dict->size(), depth, [&](size_t k) {
        *out_ += JsonText((*dict)[k].first) + ": ";
        return Write((*dict)[k].second, depth + 1);
      });
    } else {
      return absl::InvalidArgumentError(
          fmt::format("tojson: a value of type {} is none of JSON's", TypeName(v)));
    }
    return absl::OkStatus();
  }

 private:
  template <class Fn>
  absl::Status WriteAll(char open, char close, size_t n, int64_t depth, const Fn& write) {
    *out_ += open;
    for (size_t k = 0; k < n; ++k) {
      if (k > 0) *out_ += indent_ ? "," : ", ";
      NewLine(depth + 1);
      CATENA_RETURN_IF_ERROR(write(k));
    }
    if (n > 0) NewLine(depth);
    *out_ += close;
    return absl::OkStatus();
  }
  void NewLine(int64_t depth) {
    if (indent_) *out_ += "\n" + std::string(static_cast<size_t>(depth * *indent_), ' ');
  }

  std::optional<int64_t> indent_;
  std::string* out_;
};

bool IsSpace(char32_t c) {
  return (c >= 0x1C && c <= 0x1F) || (CharClasses::Get()(c) & kSpace) != 0;
}

}  // namespace

Value::Value(List v) : data_(std::make_shared<const List>(std::move(v))) {}
Value::Value(Dict v) : data_(std::make_shared<const Dict>(std::move(v))) {}
Value::Value(Callable v) : data_(std::make_shared<const Callable>(std::move(v))) {}

std::optional<int64_t> Value::AsInt() const {
  if (const auto* b = If<bool>()) return *b ? 1 : 0;
  if (const auto* i = If<int64_t>()) return *i;
  return std::nullopt;
}

std::optional<double> Value::AsNumber() const {
  if (const auto* d = If<double>()) return *d;
  if (const auto i = AsInt()) return static_cast<double>(*i);
  return std::nullopt;
}

absl::Status Wrong(std::string_view what) { return absl::InvalidArgumentError(std::string(what)); }

std::string_view TypeName(const Value& v) {
  if (v.Is<Undefined>()) return "undefined";
  if (v.Is<None>()) return "None";
  if (v.Is<bool>()) return "bool";
  if (v.Is<int64_t>()) return "int";
  if (v.Is<double>()) return "float";
  if (v.Is<std::string>()) return "str";
  if (v.Is<List>()) return "list";
  if (v.Is<Dict>()) return "dict";
  return v.Is<Callable>() ? "function" : "namespace";
}

bool Truth(const Value& v) {
  if (const auto* text = v.If<std::string>()) return !text->empty();
  if (const auto* list = v.If<List>()) return !list->empty();
  if (const auto* dict = v.If<Dict>()) return !dict->empty();
  if (const auto number = v.AsNumber()) return *number != 0;
  return v.Is<Callable>() || v.IfNamespace() != nullptr;
}

bool Equal(const Value& a, const Value& b) {
  if (const auto x = a.AsInt(), y = b.AsInt(); x && y) return *x == *y;
  if (const auto x = a.AsNumber(), y = b.AsNumber(); x && y) return *x == *y;
  if (const auto* x = a.If<std::string>(), *y = b.If<std::string>(); x && y) return *x == *y;
  if (const auto* x = a.If<List>(), *y = b.If<List>(); x && y) {
    return x == y || std::equal(x->begin(), x->end(), y->begin(), y->end(), Equal);
  }
  if (const auto* x = a.If<Dict>(), *y = b.If<Dict>(); x && y) {
    return x == y || (x->size() == y->size() && std::all_of(x->begin(), x->end(), [&](auto& e) {
                        const Value* other = Find(*y, e.first);
                        return other != nullptr && Equal(e.second, *other);
                      }));
  }
  if (a.IfNamespace() != nullptr) return a.IfNamespace() == b.IfNamespace();
  return (a.Is<None>() && b.Is<None>()) || (a.Is<Undefined>() && b.Is<Undefined>());
}

absl::StatusOr<bool> Less(const Value& a, const Value& b) {
  if (const auto x = a.AsInt(), y = b.AsInt(); x && y) return *x < *y;
  if (const auto x = a.AsNumber(), y = b.AsNumber(); x && y) return *x < *y;
  // UTF-8 has the order of its code points.
  if (const auto* x = a.If<std::string>(), *y = b.If<std::string>(); x && y) return *x < *y;
  if (const auto* x = a.If<List>(), *y = b.If<List>(); x && y) {
    for (size_t k = 0; k < std::min(x->size(), y->size()); ++k) {
      if (!Equal((*x)[k], (*y)[k])) return Less((*x)[k], (*y)[k]);
    }
    return x->size() < y->size();
  }
  return absl::InvalidArgumentError(
      fmt::format("{} and {} have no order", TypeName(a), TypeName(b)));
}

const Value* Find(const Dict& dict, std::string_view key) {
  const auto it =
      std::find_if(dict.begin(), dict.end(), [&](const auto& e) { return e.first == key; });
  return it == dict.end() ? nullptr : &it->second;
}

void Put(Dict* dict, std::string key, Value value) {
  for (auto& [known, old] : *dict) {
    if (known != key) continue;
    old = std::move(value);
    return;
  }
  dict->emplace_back(std::move(key), std::move(value));
}

std::string Text(const Value& v) {
  std::string out;
  AppendText(v, 0, &out);
  return out;
}

absl::StatusOr<std::string> ToJson(const Value& v, std::optional<int64_t> indent) {
  std::string out;
  CATENA_RETURN_IF_ERROR(JsonWriter(indent, &out).Write(v, 0));
  return out;
}

Value FromJson(const nlohmann::ordered_json& json) {
  if (json.is_null()) return None{};
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX) return json.get<double>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return ToValidUtf8(json.get<std::string>());
  if (json.is_array()) {
    List list;
    for (const auto& item : json) list.push_back(FromJson(item));
    return list;
  }
  Dict dict;
  for (const auto& [key, value] : json.items()) {
    dict.emplace_back(ToValidUtf8(key), FromJson(value));
  }
  return dict;
}

int64_t Length(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t at = 0; at < text.size();) {
    const size_t size = ReadCodePoint(text, at).size;
    out.push_back(text.substr(at, size));
    at += size;
  }
  return out;
}

std::string_view Strip(std::string_view text, Side side, std::optional<std::string_view> of) {
  const auto goes = [&](std::string_view character) {
    if (!of) return IsSpace(ReadCodePoint(character, 0).value);
    return of->find(character) != of->npos;
  };
  while (side != Side::kRight && !text.empty()) {
    const std::string_view first = text.substr(0, ReadCodePoint(text, 0).size);
    if (!goes(first)) break;
    text.remove_prefix(first.size());
  }
  while (side != Side::kLeft && !text.empty()) {
    const size_t size = ReadCodePointBefore(text, text.size()).size;
    if (!goes(text.substr(text.size() - size))) break;
    text.remove_suffix(size);
  }
  return text;
}

}  // namespace catena::jinja
