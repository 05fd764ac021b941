// Filters and tests: jinja2's filters.py and tests.py, and transformers' own tojson.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "model/chat/jinja/builtins.h"
#include "model/chat/jinja/case.h"

namespace catena::jinja {
namespace {

using Filter = absl::StatusOr<Value> (*)(const Value& v, const Arguments& args, Budget* budget);
using Test = absl::StatusOr<bool> (*)(const Value& v, const Arguments& args);

absl::StatusOr<std::string> Made(std::string text, Budget* budget) {
  CATENA_RETURN_IF_ERROR(budget->Make(static_cast<int64_t>(text.size())));
  return text;
}

bool Flag(const Arguments& args, size_t place, std::string_view name, bool absent) {
  const Value* v = args.Find(place, name);
  return v == nullptr ? absent : Truth(*v);
}

// item.a.b.0, as map and its like name it.
absl::StatusOr<Value> Dotted(Value v, const Value& path) {
  if (path.AsInt()) return Item(v, path);
  std::string rest = Text(path);
  while (true) {
    const size_t dot = rest.find('.');
    const std::string name = rest.substr(0, dot);
    int64_t index = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool number = error == std::errc() && end == name.data() + name.size();
    CATENA_ASSIGN_OR_RETURN(v, Item(v, number ? Value(index) : Value(name)));
    if (dot == rest.npos) return v;
    rest = rest.substr(dot + 1);
  }
}

// --- of texts ---

template <std::string (*change)(std::string_view)>
absl::StatusOr<Value> CaseFilter(const Value& v, const Arguments&, Budget* budget) {
  const std::string text = Text(v);
  CATENA_RETURN_IF_ERROR(budget->Make(3 * static_cast<int64_t>(text.size())));
  return change(text);
}

absl::StatusOr<Value> TrimFilter(const Value& v, const Arguments& args, Budget* budget) {
  const std::string text = Text(v);
  CATENA_RETURN_IF_ERROR(budget->Spend(static_cast<int64_t>(text.size())));
  const Value* of = args.Find(0, "chars");
  if (of == nullptr || of->Is<None>()) return std::string(Strip(text, Side::kBoth));
  return std::string(Strip(text, Side::kBoth, Text(*of)));
}

absl::StatusOr<Value> ReplaceFilter(const Value& v, const Arguments& args, Budget* budget) {
  return CallMethod(Text(v), "replace", args, budget);
}

absl::StatusOr<Value> TextFilter(const Value& v, const Arguments&, Budget* budget) {
  return Made(Text(v), budget);
}

absl::StatusOr<Value> Same(const Value& v, const Arguments&, Budget*) { return v; }

absl::StatusOr<Value> IndentFilter(const Value& v, const Arguments& args, Budget* budget) {
  const Value* width = args.Find(0, "width");
  std::string by(4, ' ');
  if (width != nullptr) {
    const auto n = width->AsInt();
    if (n && (*n < 0 || *n > 64)) return Wrong("indent by more than 64");
    by = n ? std::string(static_cast<size_t>(*n), ' ') : Text(*width);
  }
  const bool first = Flag(args, 1, "first", false), blank = Flag(args, 2, "blank", false);
  const std::string text = Text(v);
  const int64_t lines = std::count(text.begin(), text.end(), '\n') + 1;
  CATENA_RETURN_IF_ERROR(
      budget->Make(static_cast<int64_t>(text.size()) + lines * static_cast<int64_t>(by.size())));
  std::string out = first ? by : "";
  for (size_t at = 0; at < text.size(); ++at) {
    out += text[at];
    const bool empty = at + 1 == text.size() || text[at + 1] == '\n';
    if (text[at] == '\n' && (blank || !empty)) out += by;
  }
  return out;
}

absl::StatusOr<Value> Json(const Value& v, const Arguments& args, Budget* budget) {
  std::optional<int64_t> indent;
  for (const auto& [name, value] : args.named) {
    if (name != "indent" && name != "ensure_ascii") {
      return Wrong(fmt::format("tojson: {} is not supported", Quoted(name)));
    }
    if (name == "ensure_ascii" && Truth(value))
      return Wrong("tojson: ensure_ascii is not supported");
  }
  if (const Value* by = args.Find(1, "indent"); by != nullptr && !by->Is<None>()) {
    indent = by->AsInt();
    if (!indent || *indent < 0 || *indent > 16) return Wrong("tojson: indent by 0 to 16");
  }
  CATENA_ASSIGN_OR_RETURN(std::string text, ToJson(v, indent));
  return Made(std::move(text), budget);
}

// --- of numbers ---

absl::StatusOr<Value> IntFilter(const Value& v, const Arguments& args, Budget*) {
  const Value* absent = args.Find(0, "default");
  if (const auto i = v.AsInt()) return *i;
  if (const auto* d = v.If<double>(); d != nullptr && std::abs(*d) < 9e18) {
    return static_cast<int64_t>(*d);
  }
  const std::string text = Text(v);
  const std::string_view digits = Strip(text, Side::kBoth);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  if (whole && v.Is<std::string>()) return value;
  return absent == nullptr ? Value(int64_t{0}) : *absent;
}

absl::StatusOr<Value> FloatFilter(const Value& v, const Arguments& args, Budget*) {
  if (const auto d = v.AsNumber()) return *d;
  const std::string text = Text(v);
  const std::string_view digits = Strip(text, Side::kBoth);
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  if (whole && v.Is<std::string>()) return value;
  const Value* absent = args.Find(0, "default");
  return absent == nullptr ? Value(0.0) : *absent;
}

absl::StatusOr<Value> AbsFilter(const Value& v, const Arguments&, Budget*) {
  if (const auto i = v.AsInt(); i && *i != INT64_MIN) return std::abs(*i);
  if (const auto d = v.AsNumber()) return std::abs(*d);
  return Wrong(fmt::format("abs of {}", TypeName(v)));
}

absl::StatusOr<Value> RoundFilter(const Value& v, const Arguments& args, Budget*) {
  const auto number = v.AsNumber();
  const Value* places = args.Find(0, "precision");
  const auto digits = places == nullptr ? std::optional<int64_t>(0) : places->AsInt();
  if (!number || !digits || args.Find(1, "method") != nullptr || std::abs(*digits) > 15) {
    return Wrong("round of what is no number, or by a method");
  }
  const double scale = std::pow(10.0, static_cast<double>(*digits));
  return std::nearbyint(*number * scale) / scale;
}

// --- of lists ---

absl::StatusOr<Value> LengthFilter(const Value& v, const Arguments&, Budget*) {
  if (const auto* text = v.If<std::string>()) return Length(*text);
  if (const auto* list = v.If<List>()) return std::ssize(*list);
  if (const auto* dict = v.If<Dict>()) return std::ssize(*dict);
  if (v.Is<Undefined>()) return int64_t{0};
  return Wrong(fmt::format("length of {}", TypeName(v)));
}

template <bool first>
absl::StatusOr<Value> End(const Value& v, const Arguments&, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const List list, Iterate(v, budget));
  if (list.empty()) return Undefined{first ? "the first of nothing" : "the last of nothing"};
  return first ? list.front() : list.back();
}

absl::StatusOr<Value> JoinFilter(const Value& v, const Arguments& args, Budget* budget) {
  const Value* separator = args.Find(0, "d");
  const std::string between = separator == nullptr ? "" : Text(*separator);
  const Value* path = args.Find(1, "attribute");
  CATENA_ASSIGN_OR_RETURN(const List list, Iterate(v, budget));
  std::string out;
  for (size_t k = 0; k < list.size(); ++k) {
    Value item = list[k];
    if (path != nullptr) {
      CATENA_ASSIGN_OR_RETURN(item, Dotted(item, *path));
    }
    const size_t before = out.size();
    if (k > 0) out += between;
    out += Text(item);
    CATENA_RETURN_IF_ERROR(budget->Spend(static_cast<int64_t>(out.size() - before)));
    if (static_cast<int64_t>(out.size()) > Budget::kMaxText) return Wrong("a text is too long");
  }
  return out;
}

absl::StatusOr<Value> ListFilter(const Value& v, const Arguments&, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(List list, Iterate(v, budget));
  return list;
}

absl::StatusOr<Value> ReverseFilter(const Value& v, const Arguments&, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(List list, Iterate(v, budget));
  std::reverse(list.begin(), list.end());
  if (!v.Is<std::string>()) return list;
  return JoinFilter(list, {}, budget);
}

absl::StatusOr<Value> ItemsFilter(const Value& v, const Arguments&, Budget* budget) {
  if (v.Is<Undefined>()) return List{};
  if (!v.Is<Dict>()) return Wrong(fmt::format("items of {}", TypeName(v)));
  return CallMethod(v, "items", {}, budget);
}

// What values are put in order by: their attribute, texts in lower case.
absl::StatusOr<Value> SortKey(const Value& v, const Value* path, bool exact) {
  Value key = v;
  if (path != nullptr && !path->Is<None>()) {
    CATENA_ASSIGN_OR_RETURN(key, Dotted(v, *path));
  }
  if (const auto* text = key.If<std::string>(); text != nullptr && !exact) return Lower(*text);
  return key;
}

absl::StatusOr<List> Sorted(const List& list, const Value* path, bool exact, bool reverse,
                            Budget* budget) {
  CATENA_RETURN_IF_ERROR(budget->Make(1024 * std::ssize(list)));
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& v : list) {
    CATENA_ASSIGN_OR_RETURN(Value key, SortKey(v, path, exact));
    // An order for all of them, or none is tried.
    if (!keyed.empty()) CATENA_RETURN_IF_ERROR(Less(key, keyed[0].first).status());
    if (key.Is<List>()) return Wrong("lists are not sorted here");
    keyed.emplace_back(std::move(key), v);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? *Less(b.first, a.first) : *Less(a.first, b.first);
  });
  List out;
  for (auto& [key, v] : keyed) out.push_back(std::move(v));
  return out;
}

absl::StatusOr<Value> SortFilter(const Value& v, const Arguments& args, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const List list, Iterate(v, budget));
  return Sorted(list, args.Find(2, "attribute"), Flag(args, 1, "case_sensitive", false),
                Flag(args, 0, "reverse", false), budget);
}

absl::StatusOr<Value> DictSortFilter(const Value& v, const Arguments& args, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const Value items, ItemsFilter(v, {}, budget));
  const Value* by = args.Find(1, "by");
  const Value place(int64_t{by != nullptr && Text(*by) == "value" ? 1 : 0});
  return Sorted(*items.If<List>(), &place, Flag(args, 0, "case_sensitive", false),
                Flag(args, 2, "reverse", false), budget);
}

absl::StatusOr<Value> UniqueFilter(const Value& v, const Arguments& args, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const List list, Iterate(v, budget));
  List keys, out;
  for (const Value& item : list) {
    CATENA_RETURN_IF_ERROR(budget->Spend(Budget::kStep + std::ssize(keys)));
    CATENA_ASSIGN_OR_RETURN(Value key, SortKey(item, args.Find(1, "attribute"),
                                               Flag(args, 0, "case_sensitive", false)));
    CATENA_ASSIGN_OR_RETURN(const bool known, Contains(keys, key));
    if (known) continue;
    keys.push_back(std::move(key));
    out.push_back(item);
  }
  return out;
}

template <bool greatest>
absl::StatusOr<Value> Extreme(const Value& v, const Arguments& args, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const List list, Iterate(v, budget));
  CATENA_ASSIGN_OR_RETURN(const List sorted,
                          Sorted(list, args.Find(1, "attribute"),
                                 Flag(args, 0, "case_sensitive", false), greatest, budget));
  if (sorted.empty()) return Undefined{"the extreme of nothing"};
  return sorted.front();
}

// The filter or the test of the arguments from `place` on, for each of a list.
Arguments Rest(const Arguments& args, size_t place) {
  Arguments rest{.positional = {}, .named = args.named};
  for (size_t k = place; k < args.positional.size(); ++k) {
    rest.positional.push_back(args.positional[k]);
  }
  return rest;
}

absl::StatusOr<Value> MapFilter(const Value& v, const Arguments& args, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const List list, Iterate(v, budget));
  List out;
  const Value* path = args.positional.empty() ? args.Find(0, "attribute") : nullptr;
  const Value* absent = args.positional.empty() ? args.Find(1, "default") : nullptr;
  if (path == nullptr && (args.positional.empty() || !IsFilter(Text(args.positional[0])))) {
    return Wrong("map wants the name of a filter, or attribute=");
  }
  for (const Value& item : list) {
    CATENA_RETURN_IF_ERROR(budget->Spend(Budget::kStep));
    if (path != nullptr) {
      CATENA_ASSIGN_OR_RETURN(Value found, Dotted(item, *path));
      out.push_back(found.Is<Undefined>() && absent != nullptr ? *absent : std::move(found));
    } else {
      CATENA_ASSIGN_OR_RETURN(out.emplace_back(),
                              ApplyFilter(Text(args.positional[0]), item, Rest(args, 1), budget));
    }
  }
  return out;
}

// select, reject and, by an attribute, selectattr and rejectattr: of no test, what is true.
template <bool attribute, bool wanted>
absl::StatusOr<Value> Select(const Value& v, const Arguments& args, Budget* budget) {
  CATENA_ASSIGN_OR_RETURN(const List list, Iterate(v, budget));
  constexpr size_t kTest = attribute ? 1 : 0;
  if (args.positional.size() < kTest) return Wrong("selectattr wants the name of an attribute");
  const std::string test = args.positional.size() > kTest ? Text(args.positional[kTest]) : "";
  if (!test.empty() && !IsTest(test))
    return Wrong(fmt::format("no test {} is known", Quoted(test)));
  List out;
  for (const Value& item : list) {
    CATENA_RETURN_IF_ERROR(budget->Spend(Budget::kStep));
    Value of = item;
    if (attribute) {
      CATENA_ASSIGN_OR_RETURN(of, Dotted(item, args.positional[0]));
    }
    bool holds = Truth(of);
    if (!test.empty()) {
      CATENA_ASSIGN_OR_RETURN(holds, ApplyTest(test, of, Rest(args, kTest + 1)));
    }
    if (holds == wanted) out.push_back(item);
  }
  return out;
}

absl::StatusOr<Value> DefaultFilter(const Value& v, const Arguments& args, Budget*) {
  const Value* absent = args.Find(0, "default_value");
  const bool use = v.Is<Undefined>() || (Flag(args, 1, "boolean", false) && !Truth(v));
  if (!use) return v;
  return absent == nullptr ? Value(std::string()) : *absent;
}

struct FilterRow {
  std::string_view name;
  Filter filter;
};
constexpr FilterRow kFilters[] = {
    {"abs", AbsFilter},
    {"capitalize", CaseFilter<Capitalize>},
    {"count", LengthFilter},
    {"d", DefaultFilter},
    {"default", DefaultFilter},
    {"dictsort", DictSortFilter},
    {"first", End<true>},
    {"float", FloatFilter},
    {"indent", IndentFilter},
    {"int", IntFilter},
    {"items", ItemsFilter},
    {"join", JoinFilter},
    {"last", End<false>},
    {"length", LengthFilter},
    {"list", ListFilter},
    {"lower", CaseFilter<Lower>},
    {"map", MapFilter},
    {"max", Extreme<true>},
    {"min", Extreme<false>},
    {"reject", Select<false, false>},
    {"rejectattr", Select<true, false>},
    {"replace", ReplaceFilter},
    {"reverse", ReverseFilter},
    {"round", RoundFilter},
    {"safe", Same},
    {"select", Select<false, true>},
    {"selectattr", Select<true, true>},
    {"sort", SortFilter},
    {"string", TextFilter},
    {"title", CaseFilter<Title>},
    {"tojson", Json},
    {"trim", TrimFilter},
    {"unique", UniqueFilter},
    {"upper", CaseFilter<Upper>},
};

// --- tests ---

template <class T>
absl::StatusOr<bool> IsA(const Value& v, const Arguments&) {
  return v.Is<T>();
}
absl::StatusOr<bool> IsDefined(const Value& v, const Arguments&) { return !v.Is<Undefined>(); }
absl::StatusOr<bool> IsNumber(const Value& v, const Arguments&) { return v.AsNumber().has_value(); }
absl::StatusOr<bool> IsIterable(const Value& v, const Arguments&) {
  return v.Is<List>() || v.Is<Dict>() || v.Is<std::string>() || v.Is<Undefined>();
}
template <bool value>
absl::StatusOr<bool> IsBool(const Value& v, const Arguments&) {
  return v.Is<bool>() && *v.If<bool>() == value;
}
template <std::string (*change)(std::string_view)>
absl::StatusOr<bool> IsCase(const Value& v, const Arguments&) {
  const std::string text = Text(v);
  return change(text) == text && Upper(text) != Lower(text);
}

absl::StatusOr<Value> Operand(const Arguments& args) {
  if (args.positional.size() == 1 && args.named.empty()) return args.positional[0];
  return Wrong("the test wants one value to compare with");
}
template <bool same>
absl::StatusOr<bool> Equals(const Value& v, const Arguments& args) {
  CATENA_ASSIGN_OR_RETURN(const Value other, Operand(args));
  return Equal(v, other) == same;
}
template <bool swapped, bool negated>
absl::StatusOr<bool> Ordered(const Value& v, const Arguments& args) {
  CATENA_ASSIGN_OR_RETURN(const Value other, Operand(args));
  CATENA_ASSIGN_OR_RETURN(const bool less, swapped ? Less(other, v) : Less(v, other));
  return less != negated;
}
absl::StatusOr<bool> IsIn(const Value& v, const Arguments& args) {
  CATENA_ASSIGN_OR_RETURN(const Value all, Operand(args));
  return Contains(all, v);
}
absl::StatusOr<bool> IsMultiple(const Value& v, const Arguments& args) {
  CATENA_ASSIGN_OR_RETURN(const Value other, Operand(args));
  const auto a = v.AsInt(), b = other.AsInt();
  if (!a || !b || *b == 0) return Wrong("divisibleby wants two ints, the second not 0");
  return *b == -1 || *a % *b == 0;
}
template <int64_t rest>
absl::StatusOr<bool> IsParity(const Value& v, const Arguments&) {
  const auto i = v.AsInt();
  if (!i) return Wrong(fmt::format("odd or even of {}", TypeName(v)));
  return (*i & 1) == rest;
}

struct TestRow {
  std::string_view name;
  Test test;
};
constexpr TestRow kTests[] = {
    {"boolean", IsA<bool>},
    {"callable", IsA<Callable>},
    {"defined", IsDefined},
    {"divisibleby", IsMultiple},
    {"eq", Equals<true>},
    {"equalto", Equals<true>},
    {"even", IsParity<0>},
    {"false", IsBool<false>},
    {"float", IsA<double>},
    {"ge", Ordered<false, true>},
    {"greaterthan", Ordered<true, false>},
    {"gt", Ordered<true, false>},
    {"in", IsIn},
    {"integer", IsA<int64_t>},
    {"iterable", IsIterable},
    {"le", Ordered<true, true>},
    {"lessthan", Ordered<false, false>},
    {"lower", IsCase<Lower>},
    {"lt", Ordered<false, false>},
    {"mapping", IsA<Dict>},
    {"ne", Equals<false>},
    {"none", IsA<None>},
    {"number", IsNumber},
    {"odd", IsParity<1>},
    {"sameas", Equals<true>},
    {"sequence", IsIterable},
    {"string", IsA<std::string>},
    {"true", IsBool<true>},
    {"undefined", IsA<Undefined>},
    {"upper", IsCase<Upper>},
};

template <class Row, size_t n>
const Row* FindRow(const Row (&rows)[n], std::string_view name) {
  for (const Row& row : rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace

bool IsFilter(std::string_view name) { return FindRow(kFilters, name) != nullptr; }

absl::StatusOr<Value> ApplyFilter(std::string_view name, const Value& v, const Arguments& args,
                                  Budget* budget) {
  const FilterRow* row = FindRow(kFilters, name);
  CATENA_CHECK(row != nullptr);
  return row->filter(v, args, budget);
}

bool IsTest(std::string_view name) { return FindRow(kTests, name) != nullptr; }

absl::StatusOr<bool> ApplyTest(std::string_view name, const Value& v, const Arguments& args) {
  const TestRow* row = FindRow(kTests, name);
  CATENA_CHECK(row != nullptr);
  return row->test(v, args);
}

}  // namespace catena::jinja
