// What a GrpcTransport knows of its links and streams. Of its own sources alone.
//
// Thread rules: all of it is GrpcTransport::mu_'s, unless something else is said.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "services/common/channel.h"
#include "services/link/grpc_transport.h"

namespace catena {

inline size_t Index(Lane lane) { return static_cast<size_t>(lane); }

// To whom says that it is one that is called from here.
inline absl::Status NotItself(Incarnation peer) {
  return absl::PermissionDeniedError(
      fmt::format("a process called that says it is {:x}, which is called from here", peer));
}

struct GrpcTransport::Link {
  explicit Link(Replica replica) : peer(std::move(replica)) {}

  struct LaneState {
    std::shared_ptr<grpc::Channel> channel;
    std::shared_ptr<LaneStream> stream;  // null between attempts
    bool up = false;
    std::chrono::milliseconds backoff = kFirstBackoff;
    std::unique_ptr<grpc::Alarm> alarm;
  };
  const Replica peer;
  std::array<LaneState, kLanes> lanes;
  bool owes_report = true;  // of the next lane that ends: one an outage, until all are up
  bool forgotten = false;
  bool said_down = false;                // in the log, and not yet that it is up again
  std::unique_ptr<grpc::Alarm> give_up;  // set while it is down
};

struct GrpcTransport::Accepted {
  std::array<std::shared_ptr<LaneStream>, kLanes> lanes;
  std::array<bool, kLanes> owes_report{};
};

struct GrpcTransport::Stream {
  std::shared_ptr<LaneStream> stream;
  std::shared_ptr<Link> link;  // null: accepted
  Lane lane = Lane::kControl;
  Incarnation peer = 0;  // 0: not known yet
  bool silent = false;   // the receiver hears no more of it; changes under calls_mu_ too
  // Of an accepted one.
  std::string certificate;             // names in its caller's
  uint64_t stranger = 0;               // its key in strangers_
  bool entered = false;                // in callers_
  std::unique_ptr<grpc::Alarm> hello;  // ends it where it does not say who it is
};

}  // namespace catena
