// The Transport between processes: each lane of a link is a gRPC stream on a connection of its own,
// so that bulk rows never stand before a decode in one socket.
//
// Messages that are sent before a new link is up wait for it; where a link has broken they are
// dropped until it is up again. A process accepts links by returning Accept(context) from the raw
// callback method Link of its ChainService (chain_service.h).
//
// A link that this side accepted also carries what is sent back to its caller, on the newest stream
// of the lane; it takes 1 hello a stream, which must fit this process and be of the same caller as
// the first (caller_book.h). Links go down the chain: who is called from here does not call.
//
// OnConnect comes when all lanes of a link that this side made are up, OnDisconnect once an outage:
// when the first lane cannot be made, or ends, and again only after an OnConnect.
// FAILED_PRECONDITION comes in any case, and the link is forgotten. So is one, without a word, that
// stays down for `detection.give_up`: the next Connect makes it anew.
//
// Thread rules: as Transport. The receiver's calls come one at a time, and none after Disconnect
// (for the links that this side made) or Shutdown has returned; both wait for a call that is in
// progress on another thread, so do not call them with a lock that the receiver takes. Shutdown and
// the destructor block until gRPC has let go of all streams: not on a gRPC thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <unordered_map>

#include <grpcpp/alarm.h>
#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include "runtime/chain/histogram.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/transport.h"
#include "services/common/line_limit.h"
#include "services/link/caller_book.h"
#include "services/link/handshake.h"
#include "services/link/lane_stream.h"
#include "services/link/link_limits.h"
#include "services/link/refusal_log.h"

namespace catena {

struct GrpcTransportOptions {
  LinkIdentity self;
  std::shared_ptr<grpc::ChannelCredentials> credentials;  // for the links that this side makes
  int64_t max_queued_bytes = limits::kMaxQueuedBytes;     // a lane
  limits::DetectionLimits detection = {};
  // Whether an address may be called; null: any may. From any thread.
  std::function<absl::Status(const std::string& address)> may_call = nullptr;
  // Of the server by which callers come; outlives the transport. Null: nobody looks at what comes.
  MessageGuard* guard = nullptr;
  size_t max_links = limits::kMaxLinks;
  size_t max_strangers = limits::kMaxStrangers;
  size_t max_known_callers = limits::kMaxKnownCallers;
};

class GrpcTransport final : public Transport, private LaneHandler {
 public:
  using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

  GrpcTransport(GrpcTransportOptions options, Receiver* receiver);
  ~GrpcTransport() override;  // Shutdown

  absl::Status MayConnect(const Replica& replica) override;
  void Connect(const Replica& replica) override;
  void Disconnect(Incarnation peer) override;
  void Send(Envelope envelope) override;

  // Seconds that steps took from their sender's queue to this process, by lane: as exact as the
  // clocks of the two machines agree.
  std::array<Histogram, kLanes> hop_latency() const;
  // Frames between this process and others that came with other bits than were sent.
  int64_t altered_frames() const { return altered_frames_; }

  // Ends when the caller, the transport or the server does. gRPC owns the reactor.
  Reactor* Accept(grpc::CallbackServerContext* context);

  // Ends all links and accepts no more; callers get what was sent to them before, and are told
  // UNAVAILABLE. Before the Shutdown of the server, which would otherwise wait for the streams.
  // Again: does nothing.
  void Shutdown();

 private:
  struct Link;      // to a peer that this side called
  struct Accepted;  // from a peer that called
  struct Stream;    // what is known of a stream, either kind

  absl::Status OnHandshake(LaneStream* stream, const v1::Frame& frame) override;
  void OnFrame(LaneStream* stream, ChainMessage message, uint64_t sent_unix_ns) override;
  void OnEnd(LaneStream* stream, const absl::Status& why) override;

  void Call(const std::shared_ptr<Link>& link, Lane lane);
  void AwaitHello(const std::shared_ptr<LaneStream>& stream);
  absl::Status OnHello(LaneStream* stream, Stream* info, const v1::Frame& frame);
  void EndAndWait(std::vector<std::shared_ptr<LaneStream>> streams, const absl::Status& why);
  absl::Status AdmitLocked(const Caller& caller, const Stream& info);
  void LogRefusal(Incarnation caller, const absl::Status& status);
  absl::Status MayConnectLocked(const Replica& replica) const;
  absl::Status OnWelcome(LaneStream* stream, Stream* info, const v1::Frame& frame);
  std::string CallEnded(const Stream& info, const absl::Status& why);
  void AcceptedEnded(const Stream& info, LaneStream* stream, const absl::Status& why);
  void LogAltered(Incarnation peer);
  void CallAgainLater(const std::shared_ptr<Link>& link, Lane lane);
  void GiveUpLater(const std::shared_ptr<Link>& link);
  void GiveUp(const std::shared_ptr<Link>& link);
  std::vector<std::shared_ptr<LaneStream>> ForgetLocked(const std::shared_ptr<Link>& link);
  std::vector<std::shared_ptr<LaneStream>> DisownLocked(Incarnation caller);

  // REQUIRES: mu_ is not held.
  std::shared_ptr<LaneStream> Add(std::shared_ptr<LaneStream> stream, Stream info);
  void Done();  // one of active_ is over: the last thing that a callback does

  const GrpcTransportOptions options_;
  const LinkSecret secret_ = NewLinkSecret();
  Receiver* const receiver_;
  std::atomic<int64_t> altered_frames_ = 0;
  LineLimit altered_lines_{10, std::chrono::seconds(10)};

  // Held while the receiver is called, which may call Disconnect. Taken before mu_.
  std::recursive_mutex calls_mu_;

  mutable std::mutex mu_;          // of all below, and of what is in Link, Accepted and Stream
  std::condition_variable ended_;  // one of active_
  bool shut_down_ = false;
  int64_t active_ = 0;  // streams and alarms that gRPC will call back for
  std::map<Incarnation, std::shared_ptr<Link>> links_;
  std::map<Incarnation, std::shared_ptr<Accepted>> accepted_;
  std::unordered_map<LaneStream*, Stream> streams_;
  uint64_t next_stranger_ = 0;
  std::map<uint64_t, LaneStream*> strangers_;  // that have not said hello, as they came
  CallerBook callers_;
  RefusalLog refusals_;
  std::array<Histogram, kLanes> hop_latency_{Histogram(kSecondsBounds), Histogram(kSecondsBounds),
                                             Histogram(kSecondsBounds)};
  std::minstd_rand jitter_{std::random_device{}()};
  // The first channel that was made, to the end: channels may be destroyed on gRPC's threads as
  // long as one is left (channel.h).
  std::shared_ptr<grpc::Channel> anchor_;
};

}  // namespace catena
