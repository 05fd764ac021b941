// An actor drives a core with a thread of its own: messages are queued for it, and between them it
// does the core's work. A stage is thus never in lockstep with another, and only one thread touches
// its state.
//
// Thread rules: OnMessage, OnConnect, OnDisconnect and Post from any thread, they never block. The
// virtual functions run on the actor's thread. Start and Stop are the owner's: messages wait until
// Start, and Stop must have returned before the transport or the actor goes.
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

  // `transport` outlives the thread.
  void Start(Transport* transport);
  // Ends the thread; what waits is dropped. Again: does nothing.
  void Stop();

  void OnMessage(Incarnation from, Lane lane, ChainMessage message) override;
  void OnConnect(Incarnation peer) override;
  void OnDisconnect(Incarnation peer, const absl::Status& why) override;
  // Runs `fn` on the actor's thread, soon; not at all once it is stopped.
  void Post(std::function<void(Instant)> fn);

 protected:
  // `core` outlives the thread.
  explicit Actor(Core* core) : core_(core) {}

  // Does one piece of work, the heavy part of which is not the core's; false where there is none.
  virtual bool Work() { return false; }
  // Steps woke the actor: on the thread that brought them.
  virtual void ExpectWork() {}
  // After each round, when its messages are sent.
  virtual void AfterRound(Instant) {}

  // Sends what the core has to say.
  void Flush();
  // How long ago that was, at least 1; 0 where it was not.
  static int64_t AgeOf(const std::optional<Instant>& since);

 private:
  struct Incoming {
    Incarnation from;
    Lane lane;
    ChainMessage message;
  };
  struct Up {
    Incarnation peer;
  };
  struct Gone {
    Incarnation peer;
    absl::Status why;
  };
  using Item = std::variant<Incoming, Up, Gone, std::function<void(Instant)>>;

  bool Push(Item item);  // true where it woke the actor
  void Loop();
  // Waits for items, or for `until`; false once stopped.
  bool Take(bool wait, std::vector<Item>* items);
  void Handle(Item& item, Instant now);

  Core* core_;
  Transport* transport_ = nullptr;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Item> items_;
  size_t item_bytes_ = 0;  // of their rows
  bool sleeping_ = false;
  bool stopped_ = false;
};

}  // namespace catena
