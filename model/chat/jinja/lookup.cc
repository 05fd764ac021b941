// Attributes, items, slices, iteration, and methods.
#include <algorithm>
#include <functional>

#include "model/chat/jinja/builtins.h"
#include "model/chat/jinja/case.h"
#include "model/tokenizer/utf8.h"

namespace catena::jinja {
namespace {

using Method = absl::StatusOr<Value> (*)(const Value& self, const Arguments& args, Budget* budget);

// The argument as a text; nullopt where there is none, or none is meant.
absl::StatusOr<std::optional<std::string>> TextArgument(const Arguments& args, size_t place,
                                                        std::string_view name) {
  const Value* v = args.Find(place, name);
  if (v == nullptr || v->Is<None>()) return std::nullopt;
  if (const auto* text = v->If<std::string>()) return *text;
  return Wrong(fmt::format("{} where a str should be", TypeName(*v)));
}

absl::StatusOr<int64_t> IntArgument(const Arguments& args, size_t place, std::string_view name,
                                    int64_t absent) {
  const Value* v = args.Find(place, name);
  if (v == nullptr) return absent;
  if (const auto i = v->AsInt()) return *i;
  return Wrong(fmt::format("{} where an int should be", TypeName(*v)));
}

template <Side side>
absl::StatusOr<Value> StripMethod(const Value& self, const Arguments& args, Budget*) {
  CATENA_ASSIGN_OR_RETURN(const auto of, TextArgument(args, 0, "chars"));
  const std::string& text = *self.If<std::string>();
  return std::string(of ? Strip(text, side, std::string_view(*of)) : Strip(text, side));
}

// str.startswith and endswith: of a text, or of any of several.
template <bool start>
absl::StatusOr<Value> Affix(const Value& self, const Arguments& args, Budget*) {
  const Value* v = args.Find(0, "prefix");
  if (v == nullptr) return Wrong("startswith and endswith want a text");
  const std::string& text = *self.If<std::string>();
  const List one = {*v};
  for (const Value& affix : v->If<List>() != nullptr ? *v->If<List>() : one) {
    const auto* a = affix.If<std::string>();
    if (a == nullptr) return Wrong("startswith and endswith want a text");
    if (start ? text.starts_with(*a) : text.ends_with(*a)) return true;
  }
  return false;
}

// str.split without a separator: words between white space.
List SplitWords(std::string_view text, int64_t most) {
  List out;
  text = Strip(text, Side::kLeft);
  while (!text.empty() && static_cast<int64_t>(out.size()) != most) {
    size_t end = 0;
    while (end < text.size() &&
           !Strip(text.substr(end, ReadCodePoint(text, end).size), Side::kLeft).empty()) {
      end += ReadCodePoint(text, end).size;
    }
    out.push_back(std::string(text.substr(0, end)));
    text = Strip(text.substr(end), Side::kLeft);
  }
  if (!text.empty()) out.push_back(std::string(text));
  return out;
}

absl::StatusOr<Value> Split(const Value& self, const Arguments& args, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const auto separator, TextArgument(args, 0, "sep"));
  CATENA_ASSIGN_OR_RETURN(const int64_t most, IntArgument(args, 1, "maxsplit", -1));
  std::string_view text = *self.If<std::string>();
  CATENA_RETURN_IF_ERROR(budget->Make(static_cast<int64_t>(text.size()) * 32));
  if (!separator) return SplitWords(text, most);
  if (separator->empty()) return Wrong("split by an empty text");
  List out;
  for (size_t at;
       static_cast<int64_t>(out.size()) != most && (at = text.find(*separator)) != text.npos;) {
    out.push_back(std::string(text.substr(0, at)));
    text.remove_prefix(at + separator->size());
  }
  out.push_back(std::string(text));
  return out;
}

absl::StatusOr<Value> RSplit(const Value& self, const Arguments& args, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const auto separator, TextArgument(args, 0, "sep"));
  CATENA_ASSIGN_OR_RETURN(const int64_t most, IntArgument(args, 1, "maxsplit", -1));
  if (!separator || separator->empty()) return Wrong("rsplit wants a separator");
  std::string_view text = *self.If<std::string>();
  CATENA_RETURN_IF_ERROR(budget->Make(static_cast<int64_t>(text.size()) * 32));
  List out;
  for (size_t at;
       static_cast<int64_t>(out.size()) != most && (at = text.rfind(*separator)) != text.npos;) {
    out.push_back(std::string(text.substr(at + separator->size())));
    text = text.substr(0, at);
  }
  out.push_back(std::string(text));
  std::reverse(out.begin(), out.end());
  return out;
}

absl::StatusOr<Value> SplitLines(const Value& self, const Arguments&, Budget* budget) {
  std::string_view text = *self.If<std::string>();
  CATENA_RETURN_IF_ERROR(budget->Make(static_cast<int64_t>(text.size()) * 32));
  List out;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\n\r\v\f\x1c\x1d\x1e"), text.size());
    out.push_back(std::string(text.substr(0, end)));
    const bool two = text.substr(end).starts_with("\r\n");
    text.remove_prefix(std::min(text.size(), end + 1 + two));
  }
  return out;
}

absl::StatusOr<Value> Replace(const Value& self, const Arguments& args, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const auto from, TextArgument(args, 0, "old"));
  CATENA_ASSIGN_OR_RETURN(const auto to, TextArgument(args, 1, "new"));
  CATENA_ASSIGN_OR_RETURN(const int64_t most, IntArgument(args, 2, "count", -1));
  if (!from || !to) return Wrong("replace wants two texts");
  const std::string& text = *self.If<std::string>();
  std::string out;
  size_t at = 0;
  // An empty text is between all characters.
  for (int64_t n = 0; n != most; ++n) {
    const size_t found = from->empty() ? at : text.find(*from, at);
    if (found == text.npos || found > text.size()) break;
    out.append(text, at, found - at);
    out += *to;
    at = found + from->size();
    CATENA_RETURN_IF_ERROR(budget->Spend(static_cast<int64_t>(to->size()) + 1));
    if (static_cast<int64_t>(out.size()) > Budget::kMaxText) return Wrong("a text is too long");
    if (!from->empty()) continue;
    if (at == text.size()) return out;
    const size_t size = ReadCodePoint(text, at).size;
    out.append(text, at, size);
    at += size;
  }
  out.append(text, at);
  return out;
}

absl::StatusOr<Value> FindMethod(const Value& self, const Arguments& args, Budget*) {
  CATENA_ASSIGN_OR_RETURN(const auto what, TextArgument(args, 0, "sub"));
  if (!what) return Wrong("find wants a text");
  const std::string& text = *self.If<std::string>();
  const size_t at = text.find(*what);
  if (at == text.npos) return int64_t{-1};
  return Length(std::string_view(text).substr(0, at));
}

absl::StatusOr<Value> Count(const Value& self, const Arguments& args, Budget*) {
  CATENA_ASSIGN_OR_RETURN(const auto what, TextArgument(args, 0, "sub"));
  if (!what || what->empty()) return Wrong("count wants a text");
  const std::string& text = *self.If<std::string>();
  int64_t n = 0;
  for (size_t at = 0; (at = text.find(*what, at)) != text.npos; at += what->size()) ++n;
  return n;
}

template <std::string (*change)(std::string_view)>
absl::StatusOr<Value> CaseMethod(const Value& self, const Arguments&, Budget* budget) {
  const std::string& text = *self.If<std::string>();
  CATENA_RETURN_IF_ERROR(budget->Make(3 * static_cast<int64_t>(text.size())));
  return change(text);
}

absl::StatusOr<Value> JoinMethod(const Value& self, const Arguments& args, Budget* budget) {
  Arguments joined;
  joined.positional = {self};
  if (args.positional.size() != 1) return Wrong("join wants a list");
  return ApplyFilter("join", args.positional[0], joined, budget);
}

absl::StatusOr<Value> IsDigits(const Value& self, const Arguments&, Budget*) {
  const std::string& text = *self.If<std::string>();
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

absl::StatusOr<Value> Keys(const Value& self, const Arguments&, Budget*) {
  List out;
  for (const auto& [key, value] : *self.If<Dict>()) out.push_back(key);
  return out;
}

absl::StatusOr<Value> Values(const Value& self, const Arguments&, Budget*) {
  List out;
  for (const auto& [key, value] : *self.If<Dict>()) out.push_back(value);
  return out;
}

absl::StatusOr<Value> Items(const Value& self, const Arguments&, Budget*) {
  List out;
  for (const auto& [key, value] : *self.If<Dict>()) out.push_back(List{Value(key), value});
  return out;
}

absl::StatusOr<Value> Get(const Value& self, const Arguments& args, Budget*) {
  const Value* key = args.Find(0, "key");
  if (key == nullptr) return Wrong("get wants a key");
  const auto* text = key->If<std::string>();
  if (const Value* found = text == nullptr ? nullptr : Find(*self.If<Dict>(), *text)) return *found;
  const Value* absent = args.Find(1, "default");
  if (absent != nullptr) return *absent;
  return None{};
}

struct MethodRow {
  std::string_view type, name;
  Method method;
};
constexpr MethodRow kMethods[] = {
    {"str", "strip", StripMethod<Side::kBoth>},
    {"str", "lstrip", StripMethod<Side::kLeft>},
    {"str", "rstrip", StripMethod<Side::kRight>},
    {"str", "startswith", Affix<true>},
    {"str", "endswith", Affix<false>},
    {"str", "split", Split},
    {"str", "rsplit", RSplit},
    {"str", "splitlines", SplitLines},
    {"str", "replace", Replace},
    {"str", "find", FindMethod},
    {"str", "count", Count},
    {"str", "upper", CaseMethod<Upper>},
    {"str", "lower", CaseMethod<Lower>},
    {"str", "title", CaseMethod<Title>},
    {"str", "capitalize", CaseMethod<Capitalize>},
    {"str", "join", JoinMethod},
    {"str", "isdigit", IsDigits},
    {"dict", "keys", Keys},
    {"dict", "values", Values},
    {"dict", "items", Items},
    {"dict", "get", Get},
};

const MethodRow* FindMethodRow(const Value& self, std::string_view name) {
  const std::string_view type = TypeName(self);
  for (const MethodRow& row : kMethods) {
    if (row.type == type && row.name == name) return &row;
  }
  return nullptr;
}

std::optional<Value> MethodOf(const Value& v, const std::string& name) {
  if (FindMethodRow(v, name) == nullptr) return std::nullopt;
  return Callable{.name = name, .self = std::make_shared<Value>(v)};
}

std::optional<Value> KeyOf(const Value& v, const std::string& key) {
  const Dict* dict = v.If<Dict>();
  if (const Namespace* space = v.IfNamespace()) dict = &space->attributes;
  const Value* found = dict == nullptr ? nullptr : Find(*dict, key);
  if (found == nullptr) return std::nullopt;
  return *found;
}

absl::Status MustBeDefined(const Value& v, std::string_view of) {
  const auto* undefined = v.If<Undefined>();
  if (undefined == nullptr) return absl::OkStatus();
  return Wrong(fmt::format("{} is undefined, so it has no {}", undefined->what, Quoted(of)));
}

}  // namespace

const Value* Arguments::Find(size_t place, std::string_view name) const {
  if (place < positional.size()) return &positional[place];
  for (const auto& [given, value] : named) {
    if (given == name) return &value;
  }
  return nullptr;
}

absl::Status Budget::Spend(int64_t bytes) {
  left_ -= bytes;
  if (left_ >= 0) return absl::OkStatus();
  return Wrong("the template takes more work than it may");
}

absl::Status Budget::Make(int64_t bytes) {
  if (bytes > kMaxText) return Wrong("a text or a list is too long");
  return Spend(bytes);
}

absl::StatusOr<Value> Attribute(const Value& v, const std::string& name) {
  CATENA_RETURN_IF_ERROR(MustBeDefined(v, name));
  if (auto method = MethodOf(v, name)) return *method;
  if (auto value = KeyOf(v, name)) return *value;
  return Undefined{fmt::format("{}.{}", TypeName(v), name)};
}

absl::StatusOr<Value> Item(const Value& v, const Value& key) {
  CATENA_RETURN_IF_ERROR(MustBeDefined(v, Text(key).substr(0, 80)));
  const auto index = key.AsInt();
  if (const auto* list = v.If<List>(); list != nullptr && index) {
    const int64_t n = std::ssize(*list), at = *index < 0 ? *index + n : *index;
    if (0 <= at && at < n) return (*list)[static_cast<size_t>(at)];
  }
  if (const auto* text = v.If<std::string>(); text != nullptr && index) {
    const auto characters = Characters(*text);
    const int64_t n = std::ssize(characters), at = *index < 0 ? *index + n : *index;
    if (0 <= at && at < n) return std::string(characters[static_cast<size_t>(at)]);
  }
  if (const auto* name = key.If<std::string>()) {
    if (auto value = KeyOf(v, *name)) return *value;
    if (auto method = MethodOf(v, *name)) return *method;
  }
  return Undefined{fmt::format("{}[{}]", TypeName(v), Text(key).substr(0, 80))};
}

absl::StatusOr<Value> Slice(const Value& v, const Value& from, const Value& to, const Value& step,
                            Budget* budget) {
  const auto bound = [](const Value& value, int64_t absent) -> absl::StatusOr<int64_t> {
    if (value.Is<None>()) return absent;
    if (const auto i = value.AsInt()) return *i;
    return Wrong(fmt::format("a slice by {}", TypeName(value)));
  };
  std::vector<std::string_view> characters;
  if (const auto* text = v.If<std::string>()) {
    CATENA_RETURN_IF_ERROR(budget->Make(static_cast<int64_t>(text->size())));
    characters = Characters(*text);
  } else if (v.If<List>() == nullptr) {
    return Wrong(fmt::format("{} cannot be sliced", TypeName(v)));
  }
  const auto* list = v.If<List>();
  const int64_t n = list != nullptr ? std::ssize(*list) : std::ssize(characters);
  CATENA_ASSIGN_OR_RETURN(const int64_t by, bound(step, 1));
  if (by == 0) return Wrong("a slice by steps of 0");
  const int64_t low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n;
  const auto place = [&](int64_t i) { return std::clamp(i < 0 ? i + n : i, low, high); };
  CATENA_ASSIGN_OR_RETURN(int64_t at, bound(from, INT64_MAX));
  CATENA_ASSIGN_OR_RETURN(int64_t end, bound(to, INT64_MAX));
  at = from.Is<None>() ? (by < 0 ? high : low) : place(at);
  end = to.Is<None>() ? (by < 0 ? low : high) : place(end);
  List values;
  std::string text;
  for (; by < 0 ? at > end : at < end;) {
    CATENA_RETURN_IF_ERROR(budget->Spend(16));
    if (list != nullptr) values.push_back((*list)[static_cast<size_t>(at)]);
    if (list == nullptr) text += characters[static_cast<size_t>(at)];
    if (by > n || by < -n) break;  // no second one, and no overflow
    at += by;
  }
  if (list != nullptr) return values;
  return text;
}

absl::StatusOr<List> Iterate(const Value& v, Budget* budget) {
  if (const auto* list = v.If<List>()) {
    CATENA_RETURN_IF_ERROR(budget->Make(16 * std::ssize(*list)));
    return *list;
  }
  List out;
  if (const auto* dict = v.If<Dict>()) {
    for (const auto& [key, value] : *dict) out.push_back(key);
  } else if (const auto* text = v.If<std::string>()) {
    CATENA_RETURN_IF_ERROR(budget->Make(32 * static_cast<int64_t>(text->size())));
    for (const std::string_view c : Characters(*text)) out.push_back(std::string(c));
  } else if (!v.Is<Undefined>()) {
    return Wrong(fmt::format("{} cannot be gone over", TypeName(v)));
  }
  return out;
}

absl::StatusOr<bool> Contains(const Value& all, const Value& one) {
  if (const auto* list = all.If<List>()) {
    return std::any_of(list->begin(), list->end(), [&](const Value& v) { return Equal(v, one); });
  }
  const auto* name = one.If<std::string>();
  if (const auto* dict = all.If<Dict>()) return name != nullptr && Find(*dict, *name) != nullptr;
  if (const auto* text = all.If<std::string>(); text != nullptr && name != nullptr) {
    return text->find(*name) != text->npos;
  }
  if (all.Is<Undefined>()) return false;
  return Wrong(fmt::format("{} in {}", TypeName(one), TypeName(all)));
}

absl::StatusOr<Value> CallMethod(const Value& self, const std::string& name, const Arguments& args,
                                 Budget* budget) {
  const MethodRow* row = FindMethodRow(self, name);
  CATENA_CHECK(row != nullptr);  // else there would be no such callable
  return row->method(self, args, budget);
}

}  // namespace catena::jinja
