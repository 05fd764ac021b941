// The network of a simulated cluster: links between processes, as a Transport makes them, over
// connections that break, heal, are refused, fall silent, are slow, lose and repeat.
//
// What fails is an edge: the way from one address to another, along which connections are made.
// Both directions of a link that A made to B run over the edge A→B, and none over B→A. So A may be
// unable to reach B while B, and a third, reach both.
//
// It keeps the promises of runtime/chain/transport.h: order within a lane, one OnDisconnect an
// outage, OnConnect whenever a link is up, what was sent before a new link is up waits for it.
//
// Thread rules: one thread.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/chain/limits.h"
#include "runtime/chain/transport.h"
#include "tests/sim/clock.h"
#include "tests/sim/random.h"

namespace catena::sim {

enum class EdgeState {
  kOpen,
  kRefused,  // links over it break at once, and none can be made
  kSilent,   // nothing comes through and nobody is told, until keepalive finds out
};

struct NetworkOptions {
  std::chrono::microseconds delay{300};  // of a message, at most; bulk ten times that
  // How long a message takes; where there is none, up to the above, by chance.
  std::function<Nanoseconds(Lane lane, const ChainMessage& message)> transit = {};
  double loss = 0;                                        // of messages
  double duplicate = 0;                                   // of messages
  double corrupt = 0;                                     // of messages with rows: a bit flips
  Nanoseconds keepalive = std::chrono::seconds(10);       // a silent link breaks after that
  Nanoseconds connect_timeout = std::chrono::seconds(5);  // an attempt over a silent edge
  Nanoseconds give_up = limits::DetectionLimits{}.give_up;
  // Called with each message that is sent, counted from 0: how much later it comes. Where wanted.
  std::function<Nanoseconds(int64_t number)> late = {};
  std::string* story = nullptr;  // gets a line for all that arrives, where it is wanted
};

class Network {
 public:
  Network(const NetworkOptions& options, Clock* clock, Random* random);
  ~Network();

  // --- processes ---
  // A process is there. `receiver` outlives it.
  void Attach(const Replica& self, Receiver* receiver);
  // It is dead: its links break at once.
  void Detach(Incarnation self);
  // Neither answers connections nor keepalive meanwhile.
  void SetHung(Incarnation self, bool hung);
  void Connect(Incarnation self, const Replica& peer);
  void Send(Incarnation self, Envelope envelope);

  // --- faults ---
  void SetEdge(const std::string& from, const std::string& to, EdgeState state);
  void SetDelay(const std::string& from, const std::string& to, double factor);
  // All links over the edge break once, and are made again.
  void Break(const std::string& from, const std::string& to);
  // Whether a question over it would be answered, were somebody there.
  EdgeState edge(const std::string& from, const std::string& to) const;

  // Adds a line to the story, where one is told.
  void Tell(const std::string& what);

  int64_t messages() const { return messages_; }
  // Messages that wait for a link: to be made, or to be heard of again.
  int64_t held() const;
  // Where each lane of each link has delivered in order, this many links are remembered.
  size_t links() const { return links_.size(); }

 private:
  struct Link;
  struct Host {
    Replica self;
    Receiver* receiver = nullptr;
    bool hung = false;
  };
  struct EdgeFault {
    EdgeState state = EdgeState::kOpen;
    double delay = 1;
  };
  using LinkKey = std::pair<Incarnation, Incarnation>;  // who made it, to whom

  Host* Find(Incarnation process);
  const EdgeFault& Fault(const Link& link) const;
  bool IsSilent(const Link& link);
  void Try(const std::shared_ptr<Link>& link);
  void Attempted(const std::shared_ptr<Link>& link);
  void Failed(const std::shared_ptr<Link>& link, const absl::Status& why);
  void RetryLater(const std::shared_ptr<Link>& link);
  void BreakLink(const std::shared_ptr<Link>& link, const absl::Status& why);
  void Report(Incarnation to, Incarnation about, const absl::Status& why);
  Nanoseconds TransitOf(const Link& link, Lane lane, const ChainMessage& message);
  void Transmit(const std::shared_ptr<Link>& link, Incarnation from, Lane lane,
                ChainMessage message, Nanoseconds late);
  void Corrupt(ChainMessage* message);
  void WatchSilence(const std::shared_ptr<Link>& link);
  void Released(const std::shared_ptr<Link>& link);
  template <class Fn>
  void ForEachLink(const Fn& fn);  // which may forget links

  const NetworkOptions options_;
  Clock* const clock_;
  Random* const random_;
  std::map<Incarnation, Host> hosts_;
  std::map<LinkKey, std::shared_ptr<Link>> links_;
  std::map<std::pair<std::string, std::string>, EdgeFault> faults_;
  int64_t messages_ = 0;
};

}  // namespace catena::sim
