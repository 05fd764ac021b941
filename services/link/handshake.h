// What the two ends of a stream tell each other first, and whether they fit: protocol version,
// process, model, numerics and the size of rows.
//
// Thread rules: pure functions, any thread.
#pragma once

#include <string>

#include "runtime/chain/replica_info.h"
#include "services/link/codec.h"

namespace catena {

// This process, as its peers must know it.
struct LinkIdentity {
  Incarnation incarnation = 0;
  Role role = Role::kShard;
  std::string fingerprint;  // of the model; "": it fits every one
  std::string numerics_id;  // "": a gateway's, it fits every one
  RowFormat rows;           // none: a gateway's
};

// Who called, on which lane.
struct Caller {
  Incarnation incarnation = 0;
  Lane lane = Lane::kControl;
};

void MakeHello(const LinkIdentity& self, Incarnation expected, Lane lane, v1::Frame* frame);
void MakeWelcome(const LinkIdentity& self, uint32_t callers_version, v1::Frame* frame);

// The answering side. FAILED_PRECONDITION, naming both sides, where they do not fit;
// INVALID_ARGUMENT where the frame is no hello.
absl::StatusOr<Caller> CheckHello(const LinkIdentity& self, const v1::Frame& frame);

// The calling side; the same errors.
absl::Status CheckWelcome(const LinkIdentity& self, Incarnation expected, const v1::Frame& frame);

}  // namespace catena
