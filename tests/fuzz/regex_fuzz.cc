// Any bytes as a pattern, and behind a NUL a text to cut with it: nothing may crash, hang or leave
// the text, machine code and interpreter must agree in what they find, refuse and count, and what a
// Split makes of the parts must be parts of the text in their order.
#include <cstdint>
#include <string>

#include "kernels/base/status.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

constexpr uint64_t kSteps = 2'000'000;  // for a text, so that many are tried

void CheckMatches(const Regex& compiled, const Regex& interpreted, const std::string& text) {
  RegexWorkspace first(text.size(), kSteps), second(text.size(), kSteps);
  for (size_t at = 0; at <= text.size();) {
    const auto a = compiled.MatchAt(text, at, &first), b = interpreted.MatchAt(text, at, &second);
    CATENA_CHECK(a.ok() == b.ok());
    if (!a.ok()) return;
    CATENA_CHECK(*a == *b);
    CATENA_CHECK(first.steps_left() == second.steps_left());
    if (*a) {
      CATENA_CHECK(**a >= at && **a <= text.size());
      CATENA_CHECK(IsValidUtf8(std::string_view(text).substr(at, **a - at)));
    }
    if (at == text.size()) return;
    at += ReadCodePoint(text, at).size;
  }
}

void CheckSplit(std::shared_ptr<const Regex> regex, const std::string& text) {
  constexpr SplitBehavior kBehaviors[] = {
      SplitBehavior::kIsolated, SplitBehavior::kRemoved, SplitBehavior::kMergedWithPrevious,
      SplitBehavior::kMergedWithNext, SplitBehavior::kContiguous};
  const SplitBehavior behavior = kBehaviors[text.size() % 5];
  const PreTokenizer split({SplitStage{std::move(regex), behavior, text.size() % 2 == 0}});
  PreTokenizer::Workspace workspace(text.size());
  size_t at = 0, sum = 0;
  const absl::Status status = split.Split(text, true, &workspace, [&](std::string_view piece) {
    CATENA_CHECK(!piece.empty());
    const auto start = static_cast<size_t>(piece.data() - text.data());
    CATENA_CHECK(start >= at && start + piece.size() <= text.size());
    at = start + piece.size();
    sum += piece.size();
  });
  CATENA_CHECK(!status.ok() || behavior == SplitBehavior::kRemoved || sum == text.size());
}

}  // namespace
}  // namespace catena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), size);
  const auto compiled = catena::Regex::Compile(input.substr(0, end));
  const auto interpreted = catena::Regex::Compile(input.substr(0, end), false);
  CATENA_CHECK(compiled.ok() == interpreted.ok());
  if (!compiled.ok()) return 0;
  const std::string text = catena::ToValidUtf8(input.substr(std::min(end + 1, size)));
  catena::CheckMatches(**compiled, **interpreted, text);
  catena::CheckSplit(*compiled, text);
  return 0;
}
