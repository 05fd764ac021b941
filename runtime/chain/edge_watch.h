// The links from a stage to the next ones: whether each is up, or broken, since when and why. What
// is broken stays so until it is up again, or until nobody has wanted it for so long that the
// transport has given it up too.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/chain/instant.h"
#include "runtime/chain/messages.h"

namespace catena {

class EdgeWatch {
 public:
  enum class State {
    kMaking,  // it has been neither up nor broken yet
    kUp,
    kBroken,
  };

  // The transport gives a link up that is down for `give_up`.
  explicit EdgeWatch(Nanoseconds give_up) : give_up_(give_up) {}

  // A sequence is to be sent over it: it is watched from here on. RESOURCE_EXHAUSTED where too many
  // are.
  absl::Status Want(const Replica& to, Instant now);
  // REQUIRES, as does why: it is watched.
  State state(Incarnation to) const { return edges_.at(to).state; }
  // Also where it is not watched.
  bool IsBroken(Incarnation to) const {
    const auto it = edges_.find(to);
    return it != edges_.end() && it->second.state == State::kBroken;
  }
  const absl::Status& why(Incarnation to) const { return edges_.at(to).why; }

  // What the transport says of it, from when on it is watched. False where that is no news.
  bool Up(Incarnation to);
  // The same; one that is not watched does not matter.
  bool Broke(Incarnation to, const absl::Status& why, Instant now);

  // All that are broken.
  std::vector<Edge> Broken() const;
  // Where those lead that may heal: another process at that address is there to stay. As long as
  // they are told of they are to be tried: who hears that one is broken sends nothing over it, and
  // so would never find out that it could be made.
  std::vector<Replica> ToTryAgain() const;

  // Forgets those that are down and have not been wanted for long, except those for which `in_use`
  // holds. True where a broken one was among them.
  template <class Fn>
  bool Forget(Instant now, const Fn& in_use) {
    bool broken = false;
    for (auto it = edges_.begin(); it != edges_.end();) {
      if (it->second.state == State::kUp || now < ForgottenAt(it->second) || in_use(it->first)) {
        ++it;
        continue;
      }
      broken |= it->second.state == State::kBroken;
      it = edges_.erase(it);
    }
    return broken;
  }
  // When Forget has something to do; nullopt: not before something else happens.
  std::optional<Instant> ForgetAt() const;

 private:
  struct Watched {
    State state = State::kMaking;
    absl::Status why;  // it is broken, or was last
    Instant wanted;
    std::string address;  // empty where it came up and nobody has wanted it yet
  };
  Instant ForgottenAt(const Watched& edge) const { return edge.wanted + give_up_; }

  const Nanoseconds give_up_;
  std::map<Incarnation, Watched> edges_;
};

}  // namespace catena
