#include "model/chat/jinja/operators.h"

#include <cmath>

namespace catena::jinja {
namespace {

absl::StatusOr<Value> Joined(const std::string& a, const std::string& b, Budget* budget) {
  CATENA_RETURN_IF_ERROR(budget->Make(static_cast<int64_t>(a.size() + b.size())));
  return a + b;
}

absl::StatusOr<Value> Repeated(const Value& text, const Value& times, Budget* budget) {
  const auto n = times.AsInt();
  if (!n) return Wrong(fmt::format("a text times {}", TypeName(times)));
  const std::string& once = *text.If<std::string>();
  if (once.empty() || *n <= 0) return std::string();
  if (*n > Budget::kMaxText) return Wrong("a text is too long");
  CATENA_RETURN_IF_ERROR(budget->Make(*n * static_cast<int64_t>(once.size())));
  std::string out;
  for (int64_t k = 0; k < *n; ++k) out += once;
  return out;
}

absl::StatusOr<Value> CalculateInts(const std::string& op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &out);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &out);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &out);
  } else if (b == 0) {
    return Wrong("division by zero");
  } else if (b == -1) {
    overflow = op == "//" && __builtin_sub_overflow(int64_t{0}, a, &out);
  } else {
    const int64_t rest = a % b, down = rest != 0 && (rest < 0) != (b < 0) ? 1 : 0;
    out = op == "//" ? a / b - down : rest + down * b;
  }
  if (overflow) return Wrong("a number is too large");
  return out;
}

absl::StatusOr<Value> Calculate(const std::string& op, const Value& a, const Value& b) {
  const auto x = a.AsInt(), y = b.AsInt();
  if (x && y && op != "/") return CalculateInts(op, *x, *y);
  const auto p = a.AsNumber(), q = b.AsNumber();
  if (!p || !q) {
    const auto name = [](const Value& v) {
      const auto* undefined = v.If<Undefined>();
      return undefined == nullptr ? std::string(TypeName(v)) : undefined->what + " (undefined)";
    };
    return Wrong(fmt::format("{} {} {}", name(a), op, name(b)));
  }
  if (op == "+") return *p + *q;
  if (op == "-") return *p - *q;
  if (op == "*") return *p * *q;
  if (*q == 0) return Wrong("division by zero");
  if (op == "/") return *p / *q;
  if (op == "//") return std::floor(*p / *q);
  const double rest = std::fmod(*p, *q);
  return rest != 0 && (rest < 0) != (*q < 0) ? rest + *q : rest;
}

}  // namespace

absl::StatusOr<Value> Operate(const std::string& op, const Value& a, const Value& b,
                              Budget* budget) {
  if (op == "~") return Joined(Text(a), Text(b), budget);
  const auto *x = a.If<std::string>(), *y = b.If<std::string>();
  if (op == "+" && x != nullptr && y != nullptr) return Joined(*x, *y, budget);
  const auto *p = a.If<List>(), *q = b.If<List>();
  if (op == "+" && p != nullptr && q != nullptr) {
    CATENA_RETURN_IF_ERROR(budget->Make(16 * (std::ssize(*p) + std::ssize(*q))));
    List list = *p;
    list.insert(list.end(), q->begin(), q->end());
    return list;
  }
  if (op == "*" && x != nullptr) return Repeated(a, b, budget);
  if (op == "*" && y != nullptr) return Repeated(b, a, budget);
  return Calculate(op, a, b);
}

absl::StatusOr<Value> Signed(const std::string& op, const Value& v) {
  if (const auto i = v.AsInt(); i && *i != INT64_MIN) return op == "-" ? -*i : *i;
  if (const auto d = v.AsNumber()) return op == "-" ? -*d : *d;
  return Wrong(fmt::format("{} of {}", op, TypeName(v)));
}

absl::StatusOr<bool> Compare(const std::string& op, const Value& a, const Value& b) {
  if (op == "==" || op == "!=") return Equal(a, b) == (op == "==");
  if (op == "in" || op == "not in") {
    CATENA_ASSIGN_OR_RETURN(const bool contains, Contains(b, a));
    return contains == (op == "in");
  }
  if (op == "<" || op == ">") return op == "<" ? Less(a, b) : Less(b, a);
  CATENA_ASSIGN_OR_RETURN(const bool beyond, op == "<=" ? Less(b, a) : Less(a, b));
  return !beyond;
}

}  // namespace catena::jinja
