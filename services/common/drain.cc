#include "services/common/drain.h"

#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace catena {

struct Drain::Book {
  void Tell(const DrainProgress& progress) {
    const std::lock_guard lock(mutex);
    if (now && (now->ended || (now->left == progress.left && !progress.ended))) return;
    now = progress;
    for (const auto& [number, watcher] : watchers) watcher(progress);
  }

  std::mutex mutex;
  bool asked = false;
  std::optional<DrainProgress> now;  // once the role drains
  std::map<uint64_t, Watcher> watchers;
  uint64_t next = 0;
};

Drain::Drain(std::function<void()> begin)
    : begin_(std::move(begin)), book_(std::make_shared<Book>()) {}

std::shared_ptr<void> Drain::Ask(Watcher watcher) {
  bool begins;
  uint64_t number;
  {
    const std::lock_guard lock(book_->mutex);
    begins = !std::exchange(book_->asked, true);
    number = book_->next++;
    if (book_->now) watcher(*book_->now);
    book_->watchers.emplace(number, std::move(watcher));
  }
  if (begins) begin_();
  return std::shared_ptr<void>(nullptr, [book = book_, number](void*) {
    const std::lock_guard lock(book->mutex);
    book->watchers.erase(number);
  });
}

void Drain::Tell(int64_t left) { book_->Tell({.left = left}); }

void Drain::End(int64_t left) { book_->Tell({.left = left, .ended = true}); }

}  // namespace catena
