// The Transport inside one process: a hub, and one LocalTransport for each process that there would
// be otherwise. For a whole chain in one process, and for tests.
//
// The hub calls all receivers from one thread of its own, in the order in which messages were sent,
// so that a receiver may send from within a call. Links are up at once where the peer is there, and
// as soon as it comes where it is not.
//
// Thread rules: as Transport. Disconnect and the destructor of a LocalTransport wait for a call of
// its receiver that is in progress on the hub's thread; do not call them with a lock that the
// receiver takes. A transport is not destroyed within a call, nor the hub before its transports.
#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "runtime/chain/limits.h"
#include "runtime/chain/transport.h"

namespace catena {

class LocalTransport;

class LocalHub {
 public:
  LocalHub();
  ~LocalHub();
  LocalHub(const LocalHub&) = delete;
  LocalHub& operator=(const LocalHub&) = delete;

  // Breaks all links between the process at `address` and `other`, or any, as a network would, and
  // makes them again: what is queued on them is lost.
  void BreakLinks(const std::string& address, const std::string& other = "");

 private:
  friend class LocalTransport;
  struct Link;
  struct Node;
  struct Event;

  void Attach(const Replica& self, int64_t max_queued_bytes, Receiver* receiver);
  void Detach(Incarnation self);
  void Connect(Incarnation self, const Replica& peer);
  void Disconnect(Incarnation self, Incarnation peer);
  void Send(Incarnation self, Envelope envelope);

  void Run();
  bool Prepare(Event* event, Receiver** receiver);
  void TryConnect(Node* node, const std::shared_ptr<Link>& link);
  void Break(const std::shared_ptr<Link>& link, const absl::Status& why);
  void Report(Incarnation to, Incarnation about, absl::Status why);  // OK: it is reached
  void WaitForCall(std::unique_lock<std::mutex>* lock, Incarnation self);

  std::mutex mu_;  // of all below
  std::condition_variable wake_, called_;
  std::map<Incarnation, Node> nodes_;
  std::deque<Event> events_;
  Incarnation calling_ = 0;  // whose receiver is being called
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

class LocalTransport final : public Transport {
 public:
  // Messages queue up to `max_queued_bytes` a link, lane and direction, roughly counted.
  LocalTransport(LocalHub* hub, const Replica& self, Receiver* receiver,
                 int64_t max_queued_bytes = limits::kMaxQueuedBytes);
  ~LocalTransport() override;  // its links break

  void Connect(const Replica& replica) override;
  void Disconnect(Incarnation peer) override;
  void Send(Envelope envelope) override;

 private:
  LocalHub* const hub_;
  const Incarnation self_;
};

}  // namespace catena
