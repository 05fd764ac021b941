// What may go wrong in a simulated cluster, and when. A plain value, so that a run that fails can
// be made smaller fault by fault.
//
// Thread rules: plain values.
#pragma once

#include <string>

#include "runtime/chain/instant.h"

namespace catena::sim {

struct Fault {
  enum class Kind {
    kKill,     // a process dies; another starts in its place when it is over
    kDrain,    // a stage takes nothing new; when it is over, it stops and another one starts
    kHang,     // a process stands still
    kSlow,     // a process takes `factor` times as long
    kRefuse,   // no connections over an edge
    kSilence,  // nothing comes through an edge
    kDelay,    // messages over an edge take `factor` times as long
    kBreak,    // the connections over an edge break once
  };
  Kind kind = Kind::kKill;
  size_t process = 0;  // that it is of, or from which the edge goes,
  size_t other = 0;    // to this one
  Nanoseconds at{};
  Nanoseconds lasts{};
  double factor = 1;

  bool of_edge() const { return kind >= Kind::kRefuse && kind <= Kind::kBreak; }
  // Whether a gateway may not see a stage for it.
  bool may_hide_stages() const { return kind != Kind::kSlow && kind != Kind::kDelay; }
  Nanoseconds end() const { return at + lasts; }
};

std::string ToString(const Fault& fault);

}  // namespace catena::sim
