// How messages get from one process of the chain to another: in-process (local_transport.h) or by
// gRPC (services/link/grpc_transport.h). Both pass tests/runtime/chain/transport_conformance.h.
//
// A link is made by the side that sends work: a gateway to every stage of its routes, a stage to
// the next. The other side answers on the same link. Delivery is in order within a lane of a link
// while it lasts; what was in flight when a link broke is lost, and the protocol asks again.
//
// Thread rules: Transport's methods may be called from any thread and never block. A Receiver is
// called from any thread, one lane's messages one at a time, and must not block either.
#pragma once

#include "runtime/chain/messages.h"

namespace catena {

class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual void OnMessage(Incarnation from, Lane lane, ChainMessage message) = 0;
  // A link to `peer` that this side made is up, all lanes of it: for the first time, or again.
  virtual void OnConnect(Incarnation peer) = 0;
  // A link to `peer` is gone. Where this side made it, it is made again, with growing pauses, until
  // that has been in vain for long; FAILED_PRECONDITION (another process, model or version answered
  // there) is final.
  virtual void OnDisconnect(Incarnation peer, const absl::Status& why) = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Whether this process may have a link to `replica`; the error says what to do about it. To be
  // asked where a peer wants one: FAILED_PRECONDITION where it lies outside of what may be reached,
  // RESOURCE_EXHAUSTED where there are as many links as there may be.
  virtual absl::Status MayConnect(const Replica&) { return absl::OkStatus(); }
  // Makes links to `replica`, all lanes, and keeps them. Again for a known one: does nothing. To be
  // called before each new use, since links that stayed down are forgotten. One that may not be is
  // reported by OnDisconnect, also before this returns.
  virtual void Connect(const Replica& replica) = 0;
  // Drops the links to a peer that this side made. Nothing is called for it afterwards.
  virtual void Disconnect(Incarnation peer) = 0;
  // Queues a message. Dropped where there is no link, or more than kMaxQueuedBytes wait on it.
  virtual void Send(Envelope envelope) = 0;
};

}  // namespace catena
