#include "services/link/grpc_transport.h"

#include <spdlog/spdlog.h>

#include "services/common/channel.h"
#include "services/common/status.h"
#include "services/link/frame_bytes.h"

namespace catena {
namespace {

// How long Shutdown waits for peers to take what they are told.
constexpr std::chrono::milliseconds kEndGrace{500};

size_t Index(Lane lane) { return static_cast<size_t>(lane); }

}  // namespace

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
  std::unique_ptr<grpc::Alarm> hello;  // ends an accepted one that does not say who it is
};

GrpcTransport::GrpcTransport(GrpcTransportOptions options, Receiver* receiver)
    : options_(std::move(options)), receiver_(receiver) {}

GrpcTransport::~GrpcTransport() { Shutdown(); }

// --- what the owner calls ---

void GrpcTransport::Connect(const Replica& replica) {
  auto link = std::make_shared<Link>(replica);
  {
    const std::lock_guard lock(mu_);
    if (shut_down_ || !links_.emplace(replica.incarnation, link).second) return;
    for (Link::LaneState& lane : link->lanes) {
      lane.channel = MakeChannel(replica.address, options_.credentials, {.own_connection = true});
      if (anchor_ == nullptr) anchor_ = lane.channel;
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) Call(link, static_cast<Lane>(lane));
}

void GrpcTransport::Disconnect(Incarnation peer) {
  std::vector<std::shared_ptr<LaneStream>> streams;
  {
    const std::lock_guard calls(calls_mu_);
    const std::lock_guard lock(mu_);
    const auto found = links_.find(peer);
    if (found == links_.end()) return;
    streams = ForgetLocked(found->second);
  }
  for (const auto& stream : streams) stream->End(absl::CancelledError("disconnected"));
}

void GrpcTransport::Send(Envelope envelope) {
  std::shared_ptr<LaneStream> stream;
  {
    const std::lock_guard lock(mu_);
    if (const auto link = links_.find(envelope.to); link != links_.end()) {
      stream = link->second->lanes[Index(envelope.lane)].stream;
    } else if (const auto accepted = accepted_.find(envelope.to); accepted != accepted_.end()) {
      stream = accepted->second->lanes[Index(envelope.lane)];
    }
  }
  if (stream == nullptr) return;
  const auto* steps = std::get_if<Steps>(&envelope.message);
  v1::Frame frame;
  EncodeWithoutRows(envelope.message, options_.self.rows, &frame);
  stream->Send(ToBytes(frame, steps == nullptr ? nullptr : steps->rows));
}

GrpcTransport::Reactor* GrpcTransport::Accept(grpc::CallbackServerContext* context) {
  LaneHandler* const handler = this;
  auto lane = std::make_shared<AcceptedLane>(options_.self.rows, options_.max_queued_bytes, context,
                                             handler);
  AcceptedLane* reactor = lane.get();  // lives until gRPC is done with it
  if (Add(lane, {}) == nullptr) {
    // Nobody knows it: it ends at once and keeps itself.
    struct Refusal final : Reactor {
      Refusal() { Finish({grpc::StatusCode::UNAVAILABLE, "this process is shutting down"}); }
      void OnDone() override { delete this; }
    };
    return new Refusal;
  }
  AwaitHello(lane);
  reactor->Start();
  return reactor;
}

void GrpcTransport::AwaitHello(const std::shared_ptr<LaneStream>& stream) {
  const std::lock_guard lock(mu_);
  std::unique_ptr<grpc::Alarm>& alarm = streams_.at(stream.get()).hello;
  alarm = std::make_unique<grpc::Alarm>();
  ++active_;
  alarm->Set(std::chrono::system_clock::now() + options_.hello,
             [this, weak = std::weak_ptr(stream)](bool expired) {
               if (const auto late = weak.lock(); late != nullptr && expired) {
                 late->End(absl::DeadlineExceededError("no hello came"));
               }
               Done();
             });
}

void GrpcTransport::Shutdown() {
  std::vector<std::shared_ptr<LaneStream>> streams;
  {
    const std::lock_guard calls(calls_mu_);
    const std::lock_guard lock(mu_);
    shut_down_ = true;
    while (!links_.empty()) ForgetLocked(links_.begin()->second);
    for (auto& [_, info] : streams_) {
      info.silent = true;
      streams.push_back(info.stream);
    }
    accepted_.clear();
  }
  for (const auto& s : streams) s->End(absl::UnavailableError("the peer is shutting down"));
  streams.clear();
  std::unique_lock lock(mu_);
  const auto is_idle = [this] { return active_ == 0; };
  if (idle_.wait_for(lock, kEndGrace, is_idle)) return;
  for (auto& [_, info] : streams_) info.stream->Cancel();
  idle_.wait(lock, is_idle);
}

// --- streams ---

std::shared_ptr<LaneStream> GrpcTransport::Add(std::shared_ptr<LaneStream> stream, Stream info) {
  const std::lock_guard lock(mu_);
  if (shut_down_ || (info.link != nullptr && info.link->forgotten)) return nullptr;
  info.stream = stream;
  if (info.link != nullptr) {
    Link::LaneState& lane = info.link->lanes[Index(info.lane)];
    info.peer = info.link->peer.incarnation;
    lane.stream = stream;
  }
  ++active_;
  streams_.emplace(stream.get(), std::move(info));
  return stream;
}

void GrpcTransport::Done() {
  const std::lock_guard lock(mu_);
  if (--active_ == 0) idle_.notify_all();
}

void GrpcTransport::Call(const std::shared_ptr<Link>& link, Lane lane) {
  std::shared_ptr<CallingLane> stream;
  {
    const std::lock_guard lock(mu_);
    const Link::LaneState& state = link->lanes[Index(lane)];
    const CallingLane::CallOptions call{.rows = options_.self.rows,
                                        .max_queued_bytes = options_.max_queued_bytes,
                                        .wait_for_ready = !link->owes_report};
    LaneHandler* const handler = this;
    stream = std::make_shared<CallingLane>(call, state.channel, handler);
  }
  Stream info;
  info.link = link;
  info.lane = lane;
  if (Add(stream, std::move(info)) == nullptr) return;
  v1::Frame hello;
  MakeHello(options_.self, link->peer.incarnation, lane, &hello);
  stream->Start(ToBytes(hello));
}

absl::Status GrpcTransport::OnHandshake(LaneStream* stream, const v1::Frame& frame) {
  std::unique_lock lock(mu_);
  Stream* info = &streams_.at(stream);  // stays where it is until OnEnd
  lock.unlock();
  if (info->link != nullptr) return OnWelcome(stream, info, frame);
  const absl::Status status = OnHello(stream, info, frame);
  LogRefusal(frame.hello().incarnation(), status);
  return status;
}

// One line a caller, whatever the number of its lanes and attempts.
void GrpcTransport::LogRefusal(Incarnation caller, const absl::Status& status) {
  const std::lock_guard lock(mu_);
  if (status.ok()) {
    refused_.erase(caller);
    return;
  }
  if (refused_.size() >= limits::kMaxPeers) refused_.clear();
  std::string& said = refused_[caller];
  if (said == status.message()) return;
  said = std::string(status.message());
  spdlog::warn("link refused: {}", said);
}

absl::Status GrpcTransport::OnHello(LaneStream* stream, Stream* info, const v1::Frame& frame) {
  CATENA_ASSIGN_OR_RETURN(const Caller caller, CheckHello(options_.self, frame));
  v1::Frame welcome;
  MakeWelcome(options_.self, frame.hello().protocol_version(), &welcome);
  const grpc::ByteBuffer bytes = ToBytes(welcome);
  std::shared_ptr<LaneStream> older;
  {
    const std::lock_guard calls(calls_mu_);
    const std::lock_guard lock(mu_);
    if (shut_down_) return absl::UnavailableError("the peer is shutting down");
    if (!accepted_.contains(caller.incarnation) && accepted_.size() >= limits::kMaxPeers) {
      return absl::ResourceExhaustedError(
          fmt::format("{} processes have links here: end some", limits::kMaxPeers));
    }
    std::shared_ptr<Accepted>& peer = accepted_[caller.incarnation];
    if (peer == nullptr) peer = std::make_shared<Accepted>();
    peer->owes_report[Index(caller.lane)] = true;
    older = std::exchange(peer->lanes[Index(caller.lane)], info->stream);
    if (older != nullptr) streams_.at(older.get()).silent = true;
    info->peer = caller.incarnation;
    info->lane = caller.lane;
    info->hello->Cancel();
  }
  stream->Open(&bytes);
  if (older != nullptr) older->End(absl::CancelledError("a newer stream took its place"));
  return absl::OkStatus();
}

absl::Status GrpcTransport::OnWelcome(LaneStream* stream, Stream* info, const v1::Frame& frame) {
  Link& link = *info->link;
  CATENA_RETURN_IF_ERROR(CheckWelcome(options_.self, link.peer.incarnation, frame));
  stream->Open();
  const std::lock_guard calls(calls_mu_);
  {
    const std::lock_guard lock(mu_);
    if (link.forgotten) return absl::OkStatus();
    Link::LaneState& lane = link.lanes[Index(info->lane)];
    lane.up = true;
    lane.backoff = kFirstBackoff;
    const auto is_up = [](const Link::LaneState& l) { return l.up; };
    if (!std::all_of(link.lanes.begin(), link.lanes.end(), is_up)) return absl::OkStatus();
    link.owes_report = true;
    if (link.give_up != nullptr) link.give_up->Cancel();
    link.give_up.reset();
    if (std::exchange(link.said_down, false)) {
      spdlog::info("link to {} is up again", link.peer.address);
    }
  }
  receiver_->OnConnect(link.peer.incarnation);
  return absl::OkStatus();
}

void GrpcTransport::OnFrame(LaneStream* stream, ChainMessage message) {
  const std::lock_guard calls(calls_mu_);
  std::unique_lock lock(mu_);
  const Stream& info = streams_.at(stream);
  if (info.silent) return;
  const Incarnation peer = info.peer;
  const Lane lane = info.lane;
  lock.unlock();
  receiver_->OnMessage(peer, lane, std::move(message));
}

void GrpcTransport::OnEnd(LaneStream* stream, const absl::Status& why) {
  {
    const std::lock_guard calls(calls_mu_);
    std::unique_lock lock(mu_);
    const Stream info = std::move(streams_.extract(stream).mapped());
    if (info.hello != nullptr) info.hello->Cancel();
    lock.unlock();
    if (info.link == nullptr) {
      AcceptedEnded(info, stream, why);
    } else {
      CallEnded(info, why);
    }
  }  // here the stream is destroyed
  Done();
}

void GrpcTransport::AcceptedEnded(const Stream& info, LaneStream* stream, const absl::Status& why) {
  {
    const std::lock_guard lock(mu_);
    const auto found = accepted_.find(info.peer);
    if (found == accepted_.end()) return;
    const std::shared_ptr<Accepted> peer = found->second;
    std::shared_ptr<LaneStream>& lane = peer->lanes[Index(info.lane)];
    if (lane.get() != stream) return;
    lane.reset();
    const auto is_null = [](const auto& l) { return l == nullptr; };
    if (std::all_of(peer->lanes.begin(), peer->lanes.end(), is_null)) accepted_.erase(found);
    const bool owed = peer->owes_report[Index(info.lane)];
    if (info.silent || !owed) return;
    peer->owes_report.fill(false);
  }
  receiver_->OnDisconnect(info.peer, why);
}

// --- links that this side makes ---

void GrpcTransport::CallEnded(const Stream& info, const absl::Status& why) {
  const std::shared_ptr<Link>& link = info.link;
  std::vector<std::shared_ptr<LaneStream>> others;
  absl::Status status = why;
  {
    const std::lock_guard lock(mu_);
    if (link->forgotten) return;
    Link::LaneState& lane = link->lanes[Index(info.lane)];
    lane.stream.reset();
    lane.up = false;
    if (absl::IsCancelled(why)) {  // by the peer's server, or its end of the connection
      status = absl::UnavailableError("the peer cancelled the stream");
    } else if (absl::IsUnimplemented(why)) {
      status = absl::FailedPreconditionError(
          fmt::format("{} is neither a shard nor a head", link->peer.address));
    }
    const bool final = absl::IsFailedPrecondition(status);
    if (final) {
      others = ForgetLocked(link);
    } else {
      CallAgainLater(link, info.lane);
      GiveUpLater(link);
      if (!std::exchange(link->owes_report, false)) return;
    }
    link->said_down = true;
  }
  for (const auto& other : others) other->End(absl::CancelledError("disconnected"));
  spdlog::info("link to {} is down: {}", link->peer.address, ConnectionCause(Message(status)));
  status = Annotate(status, link->peer.address);
  receiver_->OnDisconnect(link->peer.incarnation, status);
}

// REQUIRES: mu_ is held.
void GrpcTransport::CallAgainLater(const std::shared_ptr<Link>& link, Lane lane_id) {
  Link::LaneState& lane = link->lanes[Index(lane_id)];
  std::uniform_real_distribution<double> spread(0.75, 1.25);
  const auto pause =
      std::chrono::duration_cast<std::chrono::microseconds>(lane.backoff * spread(jitter_));
  lane.backoff = std::min(lane.backoff * 2, kMaxBackoff);
  ++active_;
  lane.alarm = std::make_unique<grpc::Alarm>();
  lane.alarm->Set(std::chrono::system_clock::now() + pause,
                  [this, weak = std::weak_ptr(link), lane_id](bool) {
                    if (const std::shared_ptr<Link> link = weak.lock()) Call(link, lane_id);
                    Done();
                  });
}

// REQUIRES: mu_ is held.
void GrpcTransport::GiveUpLater(const std::shared_ptr<Link>& link) {
  if (link->give_up != nullptr) return;
  ++active_;
  link->give_up = std::make_unique<grpc::Alarm>();
  link->give_up->Set(std::chrono::system_clock::now() + options_.give_up,
                     [this, weak = std::weak_ptr(link)](bool expired) {
                       const std::shared_ptr<Link> link = weak.lock();
                       if (link != nullptr && expired) GiveUp(link);
                       Done();
                     });
}

void GrpcTransport::GiveUp(const std::shared_ptr<Link>& link) {
  std::vector<std::shared_ptr<LaneStream>> streams;
  {
    const std::lock_guard calls(calls_mu_);
    const std::lock_guard lock(mu_);
    if (link->forgotten || link->give_up == nullptr) return;  // up again meanwhile
    streams = ForgetLocked(link);
  }
  for (const auto& stream : streams) stream->End(absl::CancelledError("given up"));
  spdlog::info("link to {} is given up", link->peer.address);
}

// REQUIRES: calls_mu_ and mu_ are held. Returns the streams, to be ended without the locks.
std::vector<std::shared_ptr<LaneStream>> GrpcTransport::ForgetLocked(
    const std::shared_ptr<Link>& forgotten) {
  const std::shared_ptr<Link> link = forgotten;  // links_ may hold the argument
  std::vector<std::shared_ptr<LaneStream>> streams;
  link->forgotten = true;
  if (link->give_up != nullptr) link->give_up->Cancel();
  links_.erase(link->peer.incarnation);
  for (Link::LaneState& lane : link->lanes) {
    if (lane.alarm != nullptr) lane.alarm->Cancel();
    if (lane.stream == nullptr) continue;
    streams_.at(lane.stream.get()).silent = true;
    streams.push_back(std::move(lane.stream));
  }
  return streams;
}

}  // namespace catena
