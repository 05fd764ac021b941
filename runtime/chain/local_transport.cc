#include "runtime/chain/local_transport.h"

namespace catena {
namespace {

template <typename T>
int64_t Bytes(const std::vector<T>& values) {
  return static_cast<int64_t>(values.size() * sizeof(T));
}

// About what a message holds in memory: the parts that can be large.
int64_t MessageBytes(const ChainMessage& message) {
  int64_t bytes = sizeof(ChainMessage);
  if (const auto* open = std::get_if<OpenHead>(&message)) bytes += Bytes(open->ids);
  if (const auto* beat = std::get_if<Heartbeat>(&message)) bytes += Bytes(beat->open);
  if (const auto* tokens = std::get_if<Tokens>(&message)) bytes += Bytes(tokens->tokens);
  if (const auto* sent = std::get_if<SentLengths>(&message)) bytes += Bytes(sent->lengths);
  if (const auto* lengths = std::get_if<Lengths>(&message)) bytes += Bytes(lengths->lengths);
  if (const auto* steps = std::get_if<Steps>(&message)) {
    bytes += Bytes(steps->steps);
    for (const Step& step : steps->steps) bytes += Bytes(step.ids) + Bytes(step.row_hashes);
    if (steps->rows != nullptr) bytes += static_cast<int64_t>(steps->rows->size());
  }
  return bytes;
}

}  // namespace

// From `maker` to `peer`. Both ways share it.
struct LocalHub::Link {
  Incarnation maker = 0;
  Replica peer;
  bool up = false;
  bool reported = false;  // to the maker, that it is down
  bool dropped = false;   // the maker has forgotten it
  uint64_t times_broken = 0;
  // [0] from the maker, [1] to it
  std::array<std::array<int64_t, kLanes>, 2> queued_bytes{};
};

struct LocalHub::Node {
  Replica self;
  int64_t max_queued_bytes = 0;
  Receiver* receiver = nullptr;
  std::map<Incarnation, std::shared_ptr<Link>> links;  // that it made
};

// A message, or, where there is no link, that `from` is gone, or reached.
struct LocalHub::Event {
  Incarnation to = 0, from = 0;
  std::shared_ptr<Link> link;
  uint64_t times_broken = 0;
  int64_t bytes = 0;
  Lane lane = Lane::kControl;
  ChainMessage message;
  absl::Status why;  // OK: it is reached
};

LocalHub::LocalHub() : thread_([this] { Run(); }) {}

LocalHub::~LocalHub() {
  {
    const std::lock_guard lock(mu_);
    CATENA_CHECK(nodes_.empty());
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

// --- delivery ---

void LocalHub::Run() {
  std::unique_lock lock(mu_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !events_.empty(); });
    if (stopping_) return;
    Event event = std::move(events_.front());
    events_.pop_front();
    Receiver* receiver = nullptr;
    if (!Prepare(&event, &receiver)) continue;
    calling_ = event.to;
    lock.unlock();
    if (event.link != nullptr) {
      receiver->OnMessage(event.from, event.lane, std::move(event.message));
    } else if (event.why.ok()) {
      receiver->OnConnect(event.from);
    } else {
      receiver->OnDisconnect(event.from, event.why);
    }
    event = Event();
    lock.lock();
    calling_ = 0;
    called_.notify_all();
  }
}

// False where the event has become void.
bool LocalHub::Prepare(Event* event, Receiver** receiver) {
  if (Link* link = event->link.get(); link != nullptr) {
    if (link->dropped || link->times_broken != event->times_broken) return false;
    const int way = link->maker == event->from ? 0 : 1;
    link->queued_bytes[way][static_cast<size_t>(event->lane)] -= event->bytes;
  }
  const auto node = nodes_.find(event->to);
  if (node == nodes_.end()) return false;
  *receiver = node->second.receiver;
  return true;
}

void LocalHub::Send(Incarnation self, Envelope envelope) {
  const int64_t bytes = MessageBytes(envelope.message);
  const std::lock_guard lock(mu_);
  Node& node = nodes_.at(self);
  std::shared_ptr<Link> link;
  if (const auto own = node.links.find(envelope.to); own != node.links.end()) {
    link = own->second;
  } else if (const auto peer = nodes_.find(envelope.to); peer != nodes_.end()) {
    const auto its = peer->second.links.find(self);
    if (its != peer->second.links.end()) link = its->second;
  }
  if (link == nullptr || !link->up) return;
  const int way = link->maker == self ? 0 : 1;
  int64_t& queued = link->queued_bytes[way][static_cast<size_t>(envelope.lane)];
  if (queued > 0 && queued + bytes > node.max_queued_bytes) return;
  queued += bytes;
  Event event;
  event.to = envelope.to;
  event.from = self;
  event.link = link;
  event.times_broken = link->times_broken;
  event.bytes = bytes;
  event.lane = envelope.lane;
  event.message = std::move(envelope.message);
  events_.push_back(std::move(event));
  wake_.notify_one();
}

void LocalHub::Report(Incarnation to, Incarnation about, absl::Status why) {
  Event event;
  event.to = to;
  event.from = about;
  event.why = std::move(why);
  events_.push_back(std::move(event));
  wake_.notify_one();
}

// --- links ---

void LocalHub::Attach(const Replica& self, int64_t max_queued_bytes, Receiver* receiver) {
  const std::lock_guard lock(mu_);
  const bool added =
      nodes_.emplace(self.incarnation, Node{self, max_queued_bytes, receiver, {}}).second;
  CATENA_CHECK(added);
  for (auto& [_, node] : nodes_) {
    const auto links = node.links;  // TryConnect may remove one
    for (const auto& [peer, link] : links) {
      if (!link->up && link->peer.address == self.address) TryConnect(&node, link);
    }
  }
}

void LocalHub::Detach(Incarnation self) {
  std::unique_lock lock(mu_);
  Node gone = std::move(nodes_.extract(self).mapped());
  for (const auto& [peer, link] : gone.links) {
    link->dropped = true;
    if (link->up) Report(peer, self, absl::UnavailableError("the peer is gone"));
  }
  for (auto& [_, node] : nodes_) {
    const auto link = node.links.find(self);
    if (link == node.links.end() || !link->second->up) continue;
    Break(link->second, absl::UnavailableError(gone.self.address + " is gone"));
    link->second->up = false;
  }
  WaitForCall(&lock, self);
}

void LocalHub::Connect(Incarnation self, const Replica& peer) {
  const std::lock_guard lock(mu_);
  Node& node = nodes_.at(self);
  auto link = std::make_shared<Link>();
  link->maker = self;
  link->peer = peer;
  if (node.links.emplace(peer.incarnation, link).second) TryConnect(&node, link);
}

void LocalHub::TryConnect(Node* node, const std::shared_ptr<Link>& link) {
  const Replica& wanted = link->peer;
  const Node* there = nullptr;
  for (const auto& [_, other] : nodes_) {
    if (other.self.address == wanted.address) there = &other;
  }
  if (there == nullptr) {
    if (std::exchange(link->reported, true)) return;
    return Report(link->maker, wanted.incarnation,
                  absl::UnavailableError(wanted.address + " does not answer"));
  }
  if (there->self.incarnation == wanted.incarnation) {
    link->up = true;
    link->reported = false;
    return Report(link->maker, wanted.incarnation, absl::OkStatus());
  }
  link->dropped = true;
  Report(link->maker, wanted.incarnation,
         absl::FailedPreconditionError(fmt::format("{:x} called {} for {:x}: there is {:x} now",
                                                   link->maker, wanted.address, wanted.incarnation,
                                                   there->self.incarnation)));
  node->links.erase(wanted.incarnation);
}

void LocalHub::Disconnect(Incarnation self, Incarnation peer) {
  std::unique_lock lock(mu_);
  Node& node = nodes_.at(self);
  const auto found = node.links.find(peer);
  if (found == node.links.end()) return;
  found->second->dropped = true;
  if (found->second->up) Report(peer, self, absl::UnavailableError("the peer has disconnected"));
  node.links.erase(found);
  // Not even what happened before.
  std::erase_if(
      events_, [&](const Event& e) { return e.to == self && e.from == peer && e.link == nullptr; });
  WaitForCall(&lock, self);
}

// What is queued is lost. The maker keeps the link.
void LocalHub::Break(const std::shared_ptr<Link>& link, const absl::Status& why) {
  ++link->times_broken;
  link->queued_bytes = {};
  link->reported = true;
  Report(link->maker, link->peer.incarnation, why);
}

void LocalHub::BreakLinks(const std::string& address, const std::string& other) {
  const std::lock_guard lock(mu_);
  const auto fits = [&](const std::string& one, const std::string& two) {
    return one == address && (other.empty() || two == other);
  };
  for (auto& [_, node] : nodes_) {
    for (const auto& [peer, link] : node.links) {
      const std::string& a = node.self.address;
      const std::string& b = link->peer.address;
      if (!link->up || !(fits(a, b) || fits(b, a))) continue;
      Break(link, absl::UnavailableError("the link broke"));
      Report(peer, link->maker, absl::UnavailableError("the link broke"));
      link->reported = false;
      Report(link->maker, peer, absl::OkStatus());  // made again
    }
  }
}

// REQUIRES: nothing new can be delivered. A call of the hub's own thread is the caller's.
void LocalHub::WaitForCall(std::unique_lock<std::mutex>* lock, Incarnation self) {
  if (std::this_thread::get_id() == thread_.get_id()) return;
  called_.wait(*lock, [&] { return calling_ != self; });
}

// --- the transport of one process ---

LocalTransport::LocalTransport(LocalHub* hub, const Replica& self, Receiver* receiver,
                               int64_t max_queued_bytes)
    : hub_(hub), self_(self.incarnation) {
  hub_->Attach(self, max_queued_bytes, receiver);
}

LocalTransport::~LocalTransport() { hub_->Detach(self_); }

void LocalTransport::Connect(const Replica& replica) { hub_->Connect(self_, replica); }
void LocalTransport::Disconnect(Incarnation peer) { hub_->Disconnect(self_, peer); }
void LocalTransport::Send(Envelope envelope) { hub_->Send(self_, std::move(envelope)); }

}  // namespace catena
