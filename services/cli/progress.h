// A bar on stderr for work that takes a while; nothing at all where stderr is no terminal or the
// work is quick. Thread rules: one thread.
#pragma once

#include <chrono>
#include <string>

namespace catena::cli {

class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();          // clears the line
  void Show(double done);  // in [0, 1]

 private:
  std::string label_;
  bool terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace catena::cli
