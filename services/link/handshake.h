// What the two ends of a stream tell each other first, and whether they fit: protocol version,
// process, model, numerics and the size of rows; and how a caller shows that it is the same as
// before (caller_book.h).
//
// Thread rules: pure functions, any thread.
#pragma once

#include <array>
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

// What only this run of a process knows. It is never told: what goes out is a proof, made from it
// for one answerer, with which that answerer cannot pass for the caller elsewhere.
using LinkSecret = std::array<unsigned char, 16>;
LinkSecret NewLinkSecret();
std::string ProofFor(const LinkSecret& secret, Incarnation answerer);

// Who called, on which lane.
struct Caller {
  Incarnation incarnation = 0;
  Role role = Role::kShard;
  std::string proof;
  Lane lane = Lane::kControl;
};

void MakeHello(const LinkIdentity& self, const LinkSecret& secret, Incarnation expected, Lane lane,
               v1::Frame* frame);
void MakeWelcome(const LinkIdentity& self, uint32_t callers_version, v1::Frame* frame);

// The answering side. FAILED_PRECONDITION, naming both sides, where they do not fit;
// INVALID_ARGUMENT where the frame is no hello; PERMISSION_DENIED where it claims to be this
// process, or of a role that calls nobody.
absl::StatusOr<Caller> CheckHello(const LinkIdentity& self, const v1::Frame& frame);

// The calling side; the same errors.
absl::Status CheckWelcome(const LinkIdentity& self, Incarnation expected, const v1::Frame& frame);

}  // namespace catena
