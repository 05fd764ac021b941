#include "model/chat/jinja/globals.h"

#include <algorithm>
#include <array>

#include "model/tokenizer/utf8.h"

namespace catena::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // as jinja2's sandbox
constexpr int64_t kMaxBound = int64_t{1} << 40;

constexpr std::string_view kGlobals[] = {"range", "namespace", "dict", "raise_exception",
                                         "strftime_now"};

absl::StatusOr<Value> Range(const Arguments& args, Budget* budget) {
  std::vector<int64_t> bounds;
  for (const Value& v : args.positional) {
    const auto i = v.AsInt();
    if (!i || *i > kMaxBound || *i < -kMaxBound) return Wrong("range wants ints");
    bounds.push_back(*i);
  }
  if (bounds.empty() || bounds.size() > 3) return Wrong("range wants 1 to 3 ints");
  const int64_t from = bounds.size() == 1 ? 0 : bounds[0];
  const int64_t to = bounds.size() == 1 ? bounds[0] : bounds[1];
  const int64_t step = bounds.size() == 3 ? bounds[2] : 1;
  if (step == 0) return Wrong("range by steps of 0");
  const int64_t n = step > 0 ? (to - from + step - 1) / step : (from - to - step - 1) / -step;
  if (n > kMaxRange) return Wrong(fmt::format("a range of more than {}", kMaxRange));
  CATENA_RETURN_IF_ERROR(budget->Make(std::max<int64_t>(n, 0) * 16));
  List list;
  for (int64_t k = 0; k < n; ++k) list.push_back(from + k * step);
  return list;
}

absl::StatusOr<Value> TimeText(const Arguments& args, std::time_t now) {
  const Value* format = args.Find(0, "format");
  const auto* text = format == nullptr ? nullptr : format->If<std::string>();
  if (text == nullptr || text->size() > 100) return Wrong("strftime_now wants a format");
  if (text->empty()) return std::string();
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 4096> out;
  const size_t n = std::strftime(out.data(), out.size(), text->c_str(), &local);
  return ToValidUtf8({out.data(), n});
}

}  // namespace

bool IsGlobal(std::string_view name) {
  return std::find(std::begin(kGlobals), std::end(kGlobals), name) != std::end(kGlobals);
}

absl::StatusOr<Value> CallGlobal(const std::string& name, Arguments args, std::time_t now,
                                 Budget* budget) {
  if (name == "range") return Range(args, budget);
  if (name == "raise_exception") {
    const Value* why = args.Find(0, "message");
    return Wrong(why == nullptr ? "the messages are refused" : Text(*why));
  }
  if (name == "strftime_now") return TimeText(args, now);
  if (!args.positional.empty()) {
    const auto* dict = args.positional[0].If<Dict>();
    if (dict == nullptr || args.positional.size() > 1) return Wrong(name + " of what is no dict");
    Dict all = *dict;
    for (auto& [key, value] : args.named) Put(&all, key, std::move(value));
    args.named = std::move(all);
  }
  if (name == "dict") return Dict(std::move(args.named));
  return std::make_shared<Namespace>(Namespace{std::move(args.named)});
}

}  // namespace catena::jinja
