// Stop strings over streamed text: text in, text that is safe to show out. Holds back the longest
// end of the text that could still become a stop string, and at a match drops the stop string and
// all that follows. The stop string whose last byte comes first wins, of several that end there the
// longest: so the outcome does not depend on how the text was cut into pieces.
//
// Works on bytes. What is shown never ends inside a UTF-8 character that the input has whole, since
// a held-back end begins where a stop string, itself UTF-8, begins. Time is linear in the text for
// each stop string (Knuth, Morris & Pratt, "Fast pattern matching in strings", 1977).
//
// Thread rules: one thread at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace catena {

class StopMatcher {
 public:
  // No strings: everything is safe to show at once. REQUIRES: no string is empty.
  explicit StopMatcher(std::vector<std::string> stop_strings);

  // Adds text and returns what may be shown now. After a match: "".
  std::string Push(std::string_view text);

  // The end of the text: returns what was held back. After a match: "".
  std::string Flush();

  // Whether a stop string was met: the sequence is over, FinishReason::kStop.
  bool stopped() const { return stopped_; }

 private:
  struct Pattern {
    std::string text;
    // borders[m]: the longest proper prefix of text[0, m) that is also its end; for m >= 1.
    std::vector<size_t> borders;
    size_t matched = 0;  // the longest prefix that the text so far ends with

    void Advance(char byte);
  };

  std::vector<Pattern> patterns_;
  std::string held_;  // text not yet shown
  bool stopped_ = false;
};

}  // namespace catena
