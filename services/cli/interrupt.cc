#include "services/cli/interrupt.h"

#include <utility>

#include <unistd.h>

namespace catena::cli {
namespace {

std::atomic<bool> interrupted = false;
std::atomic<const char*> removed = nullptr;  // the path that RemovedWhenKilled has
static_assert(std::atomic<bool>::is_always_lock_free &&
              std::atomic<const char*>::is_always_lock_free);

// By the signal's default effect, once the handler that calls this returns.
void EndBy(int signal) {
  if (const char* path = removed.load()) unlink(path);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void OnSignal(int signal) {
  if (interrupted.exchange(true)) EndBy(signal);
}

// Without SA_RESTART, so that waiting for a line of input ends.
void Install(int signal, void (*handler)(int), struct sigaction* old = nullptr) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigaction(signal, &action, old);
}

}  // namespace

const std::atomic<bool>& InterruptFlag() {
  static const bool installed = [] {
    Install(SIGINT, OnSignal);
    Install(SIGTERM, OnSignal);
    return true;
  }();
  (void)installed;
  return interrupted;
}

void ClearInterrupt() { interrupted.store(false); }

RemovedWhenKilled::RemovedWhenKilled(std::string path) : path_(std::move(path)) {
  removed.store(path_.c_str());
  Install(SIGHUP, EndBy, &hangup_);
  if (hangup_.sa_handler == SIG_IGN) sigaction(SIGHUP, &hangup_, nullptr);
}

RemovedWhenKilled::~RemovedWhenKilled() {
  sigaction(SIGHUP, &hangup_, nullptr);
  removed.store(nullptr);
}

}  // namespace catena::cli
