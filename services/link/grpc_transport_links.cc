// The part of GrpcTransport that makes links: calls on each lane, made again where they end.
#include <algorithm>

#include <spdlog/spdlog.h>

#include "services/common/status.h"
#include "services/link/frame_bytes.h"
#include "services/link/grpc_transport_parts.h"

namespace catena {
namespace {

ChannelOptions ChannelOf(const GrpcTransportOptions& options) {
  return {.own_connection = true,
          .keepalive = options.detection.keepalive,
          .keepalive_timeout = options.detection.keepalive_timeout,
          .max_receive_bytes = kMaxAnswerBytes};
}

}  // namespace

absl::Status GrpcTransport::MayConnect(const Replica& replica) {
  const std::lock_guard lock(mu_);
  return MayConnectLocked(replica);
}

absl::Status GrpcTransport::MayConnectLocked(const Replica& replica) const {
  if (links_.contains(replica.incarnation)) return absl::OkStatus();
  if (links_.size() >= options_.max_links) {
    return absl::ResourceExhaustedError(
        fmt::format("this process has links to {} others, and may have no more; try again later",
                    links_.size()));
  }
  return options_.may_call == nullptr ? absl::OkStatus() : options_.may_call(replica.address);
}

void GrpcTransport::Connect(const Replica& replica) {
  auto link = std::make_shared<Link>(replica);
  std::vector<std::shared_ptr<LaneStream>> from_it;
  {
    const std::lock_guard calls(calls_mu_);
    std::unique_lock lock(mu_);
    if (shut_down_ || links_.contains(replica.incarnation)) return;
    if (const absl::Status may = MayConnectLocked(replica); !may.ok()) {
      lock.unlock();
      return receiver_->OnDisconnect(replica.incarnation, may);
    }
    links_.emplace(replica.incarnation, link);
    from_it = DisownLocked(replica.incarnation);
    for (Link::LaneState& lane : link->lanes) {
      lane.channel = MakeChannel(replica.address, options_.credentials, ChannelOf(options_));
      if (anchor_ == nullptr) anchor_ = lane.channel;
    }
  }
  for (const auto& stream : from_it) stream->End(NotItself(replica.incarnation));
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
  MakeHello(options_.self, secret_, link->peer.incarnation, lane, &hello);
  stream->Start(ToBytes(hello));
}

absl::Status GrpcTransport::OnWelcome(LaneStream* stream, Stream* info, const v1::Frame& frame) {
  Link& link = *info->link;
  CATENA_RETURN_IF_ERROR(CheckWelcome(options_.self, link.peer.incarnation, frame));
  stream->Open();
  std::unique_lock calls(calls_mu_);
  bool was_down = false;
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
    was_down = std::exchange(link.said_down, false);
  }
  const Replica peer = link.peer;
  receiver_->OnConnect(peer.incarnation);
  calls.unlock();
  if (was_down) spdlog::info("link to {} is up again", peer.address);
  return absl::OkStatus();
}

// REQUIRES: calls_mu_ is held. Returns what the log is to say once it is not; "": nothing.
std::string GrpcTransport::CallEnded(const Stream& info, const absl::Status& why) {
  const std::shared_ptr<Link>& link = info.link;
  std::vector<std::shared_ptr<LaneStream>> others;
  absl::Status status = why;
  {
    const std::lock_guard lock(mu_);
    if (link->forgotten) return "";
    Link::LaneState& lane = link->lanes[Index(info.lane)];
    lane.stream.reset();
    lane.up = false;
    if (absl::IsCancelled(why)) {  // by the peer's server, or its end of the connection
      status = absl::UnavailableError("the peer cancelled the stream");
    } else if (absl::IsUnimplemented(why)) {
      status = absl::FailedPreconditionError(
          fmt::format("{} is neither a shard nor a head", link->peer.address));
    } else if (absl::IsPermissionDenied(why)) {
      status = absl::FailedPreconditionError(why.message());
    }
    const bool final = absl::IsFailedPrecondition(status);
    if (final) {
      others = ForgetLocked(link);
    } else {
      CallAgainLater(link, info.lane);
      GiveUpLater(link);
      if (!std::exchange(link->owes_report, false)) return "";
    }
    link->said_down = true;
  }
  for (const auto& other : others) other->End(absl::CancelledError("disconnected"));
  receiver_->OnDisconnect(link->peer.incarnation, Annotate(status, link->peer.address));
  return fmt::format("link to {} is down: {}", link->peer.address,
                     ConnectionCause(Message(status)));
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
  link->give_up->Set(std::chrono::system_clock::now() + options_.detection.give_up,
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

// REQUIRES: calls_mu_ and mu_ are held. Returns the streams of whoever has called under this name,
// to be ended without the locks; nothing is said of them.
std::vector<std::shared_ptr<LaneStream>> GrpcTransport::DisownLocked(Incarnation caller) {
  std::vector<std::shared_ptr<LaneStream>> streams;
  const auto found = accepted_.find(caller);
  if (found == accepted_.end()) return streams;
  for (std::shared_ptr<LaneStream>& lane : found->second->lanes) {
    if (lane == nullptr) continue;
    streams_.at(lane.get()).silent = true;
    streams.push_back(std::move(lane));
  }
  accepted_.erase(found);
  return streams;
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
