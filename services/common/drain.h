// A role that is asked over the network to end as a signal ends it, and how far that has come.
//
// Thread rules: any thread. Watchers are called one at a time, under a lock: they neither block nor
// call back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace catena {

struct DrainProgress {
  int64_t left = 0;    // that still runs
  bool ended = false;  // the process exits: what is left had nowhere to go
};

class Drain {
 public:
  using Watcher = std::function<void(const DrainProgress&)>;

  // `begin`: called when somebody asks for the first time; makes the role drain.
  explicit Drain(std::function<void()> begin);

  // Asks for it. `watcher` is told how far it is, now and whenever that changes, until what is
  // returned is destroyed, which waits for a call of it that is under way.
  std::shared_ptr<void> Ask(Watcher watcher);

  // Of the role.
  void Tell(int64_t left);
  void End(int64_t left);

 private:
  struct Book;
  const std::function<void()> begin_;
  const std::shared_ptr<Book> book_;  // also of watchers that outlive this
};

}  // namespace catena
