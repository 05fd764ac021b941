// An actor drives a core with a thread of its own: messages are queued for it, and between them it
// does the core's work. A stage is thus never in lockstep with another, and only one thread touches
// its state.
//
// Thread rules: OnMessage, OnDisconnect and Post from any thread, they never block. The virtual
// functions run on the actor's thread. A subclass calls Start when it is whole, and Stop in its
// destructor.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "runtime/chain/core.h"
#include "runtime/chain/transport.h"

namespace catena {

class Actor : public Receiver {
 public:
  ~Actor() override;

  void OnMessage(Incarnation from, Lane lane, ChainMessage message) override;
  void OnDisconnect(Incarnation peer, const absl::Status& why) override;
  // Runs `fn` on the actor's thread, soon; not at all once it is stopped.
  void Post(std::function<void(Instant)> fn);

 protected:
  // `core` and `transport` outlive the thread.
  Actor(Core* core, Transport* transport) : core_(core), transport_(transport) {}
  void Start();
  void Stop();

  // Does one piece of work, the heavy part of which is not the core's; false where there is none.
  virtual bool Work() { return false; }
  // After each round, when its messages are sent.
  virtual void AfterRound(Instant) {}

  // Sends what the core has to say.
  void Flush();

 private:
  struct Incoming {
    Incarnation from;
    Lane lane;
    ChainMessage message;
  };
  struct Gone {
    Incarnation peer;
    absl::Status why;
  };
  using Item = std::variant<Incoming, Gone, std::function<void(Instant)>>;

  void Push(Item item);
  void Loop();
  // Waits for items, or for `until`; false once stopped.
  bool Take(bool wait, std::vector<Item>* items);
  void Handle(Item& item, Instant now);

  Core* core_;
  Transport* transport_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Item> items_;
  bool sleeping_ = false;
  bool stopped_ = false;
};

}  // namespace catena
