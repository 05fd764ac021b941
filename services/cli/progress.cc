#include "services/cli/progress.h"

#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

namespace catena::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kQuick = 300ms;  // nobody wants a bar that flashes up
constexpr auto kRedraw = 50ms;
constexpr int kWidth = 30;

}  // namespace

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)),
      terminal_(isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

ProgressBar::~ProgressBar() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
}

void ProgressBar::Show(double done) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - start_ < kQuick || (shown_ && now - last_ < kRedraw)) return;
  last_ = now;
  shown_ = true;
  std::string bar;
  const int full = static_cast<int>(std::lround(done * kWidth));
  for (int i = 0; i < kWidth; ++i) bar += i < full ? "█" : "░";
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double left = done > 0 ? elapsed / done - elapsed : 0;
  fmt::print(stderr, "\r{} {} {:3.0f} %  {:.0f} s left\x1b[K", label_, bar, done * 100, left);
  std::fflush(stderr);
}

}  // namespace catena::cli
