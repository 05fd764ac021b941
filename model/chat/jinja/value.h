// The values of Jinja: what Python has of them, as far as chat templates see it. Texts are UTF-8,
// counted in code points. Values are immutable, a namespace's attributes apart; copies share.
//
// Thread rules: one thread for all values of a rendering.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernels/base/status.h"

namespace catena::jinja {

struct Macro;  // syntax.h
class Value;

struct Undefined {
  std::string what;  // for messages: "message.tool_calls"
};
struct None {};
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in the order of insertion
struct Namespace {
  Dict attributes;
};
// What can be called: a global function, a method of `self`, or a macro.
struct Callable;

class Value {
 public:
  using Data =
      std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
                   std::shared_ptr<const List>, std::shared_ptr<const Dict>,
                   std::shared_ptr<Namespace>, std::shared_ptr<const Callable>>;

  Value() : data_(Undefined{}) {}
  Value(Undefined v) : data_(std::move(v)) {}
  Value(None v) : data_(v) {}
  Value(bool v) : data_(v) {}
  Value(int64_t v) : data_(v) {}
  Value(double v) : data_(v) {}
  Value(std::string v) : data_(std::make_shared<const std::string>(std::move(v))) {}
  Value(List v);
  Value(Dict v);
  Value(std::shared_ptr<Namespace> v) : data_(std::move(v)) {}
  Value(Callable v);
  // No other conversions: an int, a size or a pointer would become a bool.
  template <class T>
  Value(T) = delete;

  // What it holds, or null. `Get` of a text, list or dict: what the pointer points to.
  template <class T>
  const T* If() const {
    if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, List> ||
                  std::is_same_v<T, Dict> || std::is_same_v<T, Callable>) {
      const auto* p = std::get_if<std::shared_ptr<const T>>(&data_);
      return p == nullptr ? nullptr : p->get();
    } else {
      return std::get_if<T>(&data_);
    }
  }
  Namespace* IfNamespace() const {
    const auto* p = std::get_if<std::shared_ptr<Namespace>>(&data_);
    return p == nullptr ? nullptr : p->get();
  }
  template <class T>
  bool Is() const {
    return If<T>() != nullptr;
  }
  // As Python sees a bool: True is 1. nullopt: no integer, or no number.
  std::optional<int64_t> AsInt() const;
  std::optional<double> AsNumber() const;

 private:
  Data data_;
};

struct Callable {
  std::string name;
  std::shared_ptr<Value> self;   // of a method; null: none
  const Macro* macro = nullptr;  // of the template, which outlives it
};

// INVALID_ARGUMENT, in words for whoever wrote the template.
absl::Status Wrong(std::string_view what);

std::string_view TypeName(const Value& v);  // as Python says it: "str"
bool Truth(const Value& v);
bool Equal(const Value& a, const Value& b);
// INVALID_ARGUMENT where the two have no order.
absl::StatusOr<bool> Less(const Value& a, const Value& b);
const Value* Find(const Dict& dict, std::string_view key);
void Put(Dict* dict, std::string key, Value value);  // in place of what has the key

// What {{ v }} writes: Python's str(), and its repr() inside of lists and dicts.
std::string Text(const Value& v);
// Python's json.dumps(v, ensure_ascii=False), on lines where there is an indent. INVALID_ARGUMENT
// where a value is none of JSON's.
absl::StatusOr<std::string> ToJson(const Value& v, std::optional<int64_t> indent);
Value FromJson(const nlohmann::ordered_json& json);

// Of a text, in code points. REQUIRES: valid UTF-8.
int64_t Length(std::string_view text);
std::vector<std::string_view> Characters(std::string_view text);
// Python's str.strip and its halves: of white space, or of any of the characters of `of`.
enum class Side { kLeft, kRight, kBoth };
std::string_view Strip(std::string_view text, Side side, std::optional<std::string_view> of = {});

}  // namespace catena::jinja
