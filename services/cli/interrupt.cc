#include "services/cli/interrupt.h"

#include <csignal>

namespace catena::cli {
namespace {

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void OnSignal(int) { interrupted.store(true); }

// Without SA_RESTART, so that waiting for a line of input ends; the second signal has its default
// effect.
void InstallOne(int signal) {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(signal, &action, nullptr);
}

void InstallAll() {
  InstallOne(SIGINT);
  InstallOne(SIGTERM);
}

}  // namespace

const std::atomic<bool>& InterruptFlag() {
  static const bool installed = [] {
    InstallAll();
    return true;
  }();
  (void)installed;
  return interrupted;
}

void ClearInterrupt() {
  interrupted.store(false);
  InstallAll();
}

}  // namespace catena::cli
