#include "model/sampler/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "kernels/base/status.h"

namespace catena {

StopMatcher::StopMatcher(std::vector<std::string> stop_strings) {
  for (std::string& text : stop_strings) {
    CATENA_CHECK(!text.empty());
    Pattern pattern;
    pattern.text = std::move(text);
    pattern.borders.assign(pattern.text.size() + 1, 0);
    size_t border = 0;
    for (size_t m = 1; m < pattern.text.size(); ++m) {
      while (border > 0 && pattern.text[border] != pattern.text[m])
        border = pattern.borders[border];
      if (pattern.text[border] == pattern.text[m]) ++border;
      pattern.borders[m + 1] = border;
    }
    patterns_.push_back(std::move(pattern));
  }
}

void StopMatcher::Pattern::Advance(char byte) {
  while (matched > 0 && text[matched] != byte) matched = borders[matched];
  if (text[matched] == byte) ++matched;
}

std::string StopMatcher::Push(std::string_view text) {
  if (stopped_) return "";
  for (char byte : text) {
    held_.push_back(byte);
    size_t complete = 0;
    for (Pattern& pattern : patterns_) {
      pattern.Advance(byte);
      if (pattern.matched == pattern.text.size()) complete = std::max(complete, pattern.matched);
    }
    if (complete > 0) {
      stopped_ = true;
      held_.resize(held_.size() - complete);
      return std::exchange(held_, "");
    }
  }
  size_t keep = 0;
  for (const Pattern& pattern : patterns_) keep = std::max(keep, pattern.matched);
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopMatcher::Flush() { return std::exchange(held_, ""); }

}  // namespace catena
