#include "tests/sim/network.h"

#include <optional>

#include "tests/runtime/chain/message_text.h"

namespace catena::sim {
namespace {

constexpr Nanoseconds kFirstBackoff = std::chrono::milliseconds(20);
constexpr Nanoseconds kMaxBackoff = std::chrono::seconds(1);
constexpr double kBulkDelay = 10;  // of a decode's

}  // namespace

struct Network::Link {
  enum class State { kFirst, kUp, kDown };
  struct Held {
    Incarnation from;
    Lane lane;
    ChainMessage message;
  };

  std::string from;  // the maker's address
  Incarnation maker = 0;
  Replica peer;
  State state = State::kFirst;
  bool reported = false;   // to the maker, that it is down
  bool forgotten = false;  // by the maker
  uint64_t outages = 0;    // what was in flight before one is void
  std::optional<Instant> down_since;
  Nanoseconds backoff = kFirstBackoff;
  std::vector<Held> held;  // sent before it was first up, or while it was silent
  // [0] from the maker, [1] to it
  std::array<std::array<Instant, kLanes>, 2> last_arrival{};
};

Network::Network(const NetworkOptions& options, Clock* clock, Random* random)
    : options_(options), clock_(clock), random_(random) {}

Network::~Network() = default;

Network::Host* Network::Find(Incarnation process) {
  const auto it = hosts_.find(process);
  return it == hosts_.end() ? nullptr : &it->second;
}

template <class Fn>
void Network::ForEachLink(const Fn& fn) {
  const auto links = links_;
  for (const auto& [key, link] : links) fn(link);
}

EdgeState Network::edge(const std::string& from, const std::string& to) const {
  const auto it = faults_.find({from, to});
  return it == faults_.end() ? EdgeState::kOpen : it->second.state;
}

const Network::EdgeFault& Network::Fault(const Link& link) const {
  static const EdgeFault kNone;
  if (faults_.empty()) return kNone;
  const auto it = faults_.find({link.from, link.peer.address});
  return it == faults_.end() ? kNone : it->second;
}

// Whether what is sent over it now comes through later or never.
bool Network::IsSilent(const Link& link) { return Fault(link).state == EdgeState::kSilent; }

int64_t Network::held() const {
  int64_t n = 0;
  for (const auto& [key, link] : links_) n += static_cast<int64_t>(link->held.size());
  return n;
}

// --- processes ---

void Network::Attach(const Replica& self, Receiver* receiver) {
  hosts_[self.incarnation] = {.self = self, .receiver = receiver};
}

void Network::Detach(Incarnation self) {
  hosts_.erase(self);
  ForEachLink([&](const std::shared_ptr<Link>& link) {
    if (link->maker != self && link->peer.incarnation != self) return;
    BreakLink(link, absl::UnavailableError("the connection was closed"));
    if (link->maker != self) return;
    link->forgotten = true;
    links_.erase({link->maker, link->peer.incarnation});
  });
}

void Network::SetHung(Incarnation self, bool hung) {
  Host* host = Find(self);
  if (host == nullptr || host->hung == hung) return;
  host->hung = hung;
  if (!hung) return;
  clock_->After(options_.keepalive, [this, self] {
    const Host* host = Find(self);
    if (host == nullptr || !host->hung) return;
    ForEachLink([&](const std::shared_ptr<Link>& link) {
      if (link->maker != self && link->peer.incarnation != self) return;
      BreakLink(link, absl::UnavailableError("keepalive watchdog timeout"));
    });
  });
}

void Network::Connect(Incarnation self, const Replica& peer) {
  const Host* host = Find(self);
  CATENA_CHECK(host != nullptr);
  std::shared_ptr<Link>& link = links_[{self, peer.incarnation}];
  if (link != nullptr) return;
  link = std::make_shared<Link>();
  link->from = host->self.address;
  link->maker = self;
  link->peer = peer;
  Try(link);
}

// --- making links ---

void Network::Try(const std::shared_ptr<Link>& link) {
  const auto peer = hosts_.find(link->peer.incarnation);
  const bool hangs = peer != hosts_.end() && peer->second.hung;
  const bool silent = IsSilent(*link) || hangs;
  const Nanoseconds takes = silent ? options_.connect_timeout : Nanoseconds(options_.delay);
  clock_->After(takes, [this, link] { Attempted(link); });
}

void Network::Attempted(const std::shared_ptr<Link>& link) {
  if (link->forgotten || link->state == Link::State::kUp) return;
  const EdgeState state = Fault(*link).state;
  if (state == EdgeState::kRefused) {
    return Failed(link, absl::UnavailableError("connection refused"));
  }
  if (state == EdgeState::kSilent) return Failed(link, absl::UnavailableError("no answer"));
  const Host* there = nullptr;
  for (const auto& [incarnation, host] : hosts_) {
    if (host.self.address == link->peer.address) there = &host;
  }
  if (there == nullptr) return Failed(link, absl::UnavailableError("connection refused"));
  if (there->hung) return Failed(link, absl::UnavailableError("no answer"));
  if (there->self.incarnation != link->peer.incarnation) {
    return Failed(link, absl::FailedPreconditionError("another process is there now"));
  }
  link->state = Link::State::kUp;
  link->reported = false;
  link->down_since.reset();
  link->backoff = kFirstBackoff;
  Report(link->maker, link->peer.incarnation, absl::OkStatus());
  Released(link);
}

void Network::Failed(const std::shared_ptr<Link>& link, const absl::Status& why) {
  link->state = Link::State::kDown;
  link->held.clear();
  if (!link->down_since) link->down_since = clock_->now();
  const bool final = absl::IsFailedPrecondition(why);
  if (final || !std::exchange(link->reported, true)) {
    Report(link->maker, link->peer.incarnation, why);
  }
  if (final || clock_->now() - *link->down_since >= options_.give_up) {
    link->forgotten = true;
    links_.erase({link->maker, link->peer.incarnation});
    return;
  }
  RetryLater(link);
}

void Network::RetryLater(const std::shared_ptr<Link>& link) {
  const auto pause =
      std::chrono::duration_cast<Nanoseconds>(link->backoff * (0.75 + 0.5 * random_->Uniform()));
  link->backoff = std::min(2 * link->backoff, kMaxBackoff);
  clock_->After(pause, [this, link] {
    if (!link->forgotten && link->state == Link::State::kDown) Try(link);
  });
}

// What is in flight is lost, both ends are told, and the maker makes it again.
void Network::BreakLink(const std::shared_ptr<Link>& link, const absl::Status& why) {
  if (link->state != Link::State::kUp) return;
  ++link->outages;
  link->held.clear();
  link->state = Link::State::kDown;
  link->reported = true;
  link->down_since = clock_->now();
  Report(link->maker, link->peer.incarnation, why);
  Report(link->peer.incarnation, link->maker, why);
  RetryLater(link);
}

void Network::Report(Incarnation to, Incarnation about, const absl::Status& why) {
  clock_->After(Nanoseconds(0), [this, to, about, why] {
    const Host* host = Find(to);
    if (host == nullptr) return;
    if (options_.story != nullptr) {
      Tell(fmt::format("{} hears of its link to {}: {}", to, about, why.ToString()));
    }
    why.ok() ? host->receiver->OnConnect(about) : host->receiver->OnDisconnect(about, why);
  });
}

// --- messages ---

void Network::Send(Incarnation self, Envelope envelope) {
  const Nanoseconds late = options_.late ? options_.late(messages_) : Nanoseconds(0);
  ++messages_;
  auto it = links_.find({self, envelope.to});
  if (it == links_.end()) it = links_.find({envelope.to, self});
  if (it == links_.end()) return;
  const std::shared_ptr<Link>& link = it->second;
  const bool by_maker = link->maker == self;
  if (link->state == Link::State::kDown) return;
  if (link->state == Link::State::kFirst && !by_maker) return;
  if (link->state == Link::State::kFirst || IsSilent(*link)) {
    link->held.push_back({self, envelope.lane, std::move(envelope.message)});
    return;
  }
  for (int copies = random_->Chance(options_.duplicate) ? 2 : 1; copies > 1; --copies) {
    Transmit(link, self, envelope.lane, envelope.message, late);
  }
  Transmit(link, self, envelope.lane, std::move(envelope.message), late);
}

Nanoseconds Network::TransitOf(const Link& link, Lane lane, const ChainMessage& message) {
  const double fault = Fault(link).delay;
  if (options_.transit) {
    return std::chrono::duration_cast<Nanoseconds>(options_.transit(lane, message) * fault);
  }
  const double factor = (lane == Lane::kBulk ? kBulkDelay : 1) * fault;
  return random_->UpTo(std::chrono::duration_cast<Nanoseconds>(options_.delay * factor));
}

// Within a lane order is kept; lanes overtake one another.
void Network::Transmit(const std::shared_ptr<Link>& link, Incarnation from, Lane lane,
                       ChainMessage message, Nanoseconds late) {
  if (random_->Chance(options_.loss)) return;
  if (options_.corrupt > 0) Corrupt(&message);
  Instant& last = link->last_arrival[from == link->maker ? 0 : 1][static_cast<size_t>(lane)];
  last = std::max(last, clock_->now() + TransitOf(*link, lane, message) + late);
  // Shared, since std::function copies what it captures.
  auto carried = std::make_shared<ChainMessage>(std::move(message));
  clock_->At(last, [this, link, from, lane, outages = link->outages, carried] {
    if (link->outages != outages) return;
    if (IsSilent(*link)) {  // it fell silent under way
      link->held.push_back({from, lane, std::move(*carried)});
      return;
    }
    const Host* host = Find(from == link->maker ? link->peer.incarnation : link->maker);
    if (host == nullptr) return;
    if (options_.story != nullptr) {
      Tell(fmt::format("{} -> {}: {}", from, host->self.incarnation, TextOf(*carried)));
    }
    host->receiver->OnMessage(from, lane, std::move(*carried));
  });
}

void Network::Corrupt(ChainMessage* message) {
  auto* steps = std::get_if<Steps>(message);
  if (steps == nullptr || steps->rows == nullptr || !random_->Chance(options_.corrupt)) return;
  std::string rows = *steps->rows;
  rows[static_cast<size_t>(random_->Below(static_cast<int64_t>(rows.size())))] ^= 4;
  steps->rows = std::make_shared<const std::string>(std::move(rows));
}

void Network::Tell(const std::string& what) {
  if (options_.story == nullptr) return;
  const double s = std::chrono::duration<double>(clock_->now().time_since_epoch()).count();
  *options_.story += fmt::format("{:.4f} {}\n", s, what);
}

// It was made, or heard of again: what waited goes.
void Network::Released(const std::shared_ptr<Link>& link) {
  for (Link::Held& held : std::exchange(link->held, {})) {
    Transmit(link, held.from, held.lane, std::move(held.message), {});
  }
}

// --- faults ---

void Network::SetEdge(const std::string& from, const std::string& to, EdgeState state) {
  faults_[{from, to}].state = state;
  ForEachLink([&](const std::shared_ptr<Link>& link) {
    if (link->from != from || link->peer.address != to) return;
    if (state == EdgeState::kRefused) {
      BreakLink(link, absl::UnavailableError("the connection was closed"));
    } else if (link->state == Link::State::kUp) {
      state == EdgeState::kSilent ? WatchSilence(link) : Released(link);
    }
  });
}

void Network::WatchSilence(const std::shared_ptr<Link>& link) {
  clock_->After(options_.keepalive, [this, link, outages = link->outages] {
    if (link->outages != outages || !IsSilent(*link)) return;
    BreakLink(link, absl::UnavailableError("keepalive watchdog timeout"));
  });
}

void Network::SetDelay(const std::string& from, const std::string& to, double factor) {
  faults_[{from, to}].delay = factor;
}

void Network::Break(const std::string& from, const std::string& to) {
  ForEachLink([&](const std::shared_ptr<Link>& link) {
    if (link->from != from || link->peer.address != to) return;
    BreakLink(link, absl::UnavailableError("the connection was reset"));
  });
}

}  // namespace catena::sim
