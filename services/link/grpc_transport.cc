#include "services/link/grpc_transport.h"

#include <spdlog/spdlog.h>

#include "services/common/status.h"
#include "services/link/frame_bytes.h"
#include "services/link/grpc_transport_parts.h"

namespace catena {
namespace {

// How long Shutdown waits for peers to take what they are told.
constexpr std::chrono::milliseconds kEndGrace{500};

Instant Now() { return std::chrono::steady_clock::now(); }

// The names in the certificate that a caller has shown; "" where it has shown none.
std::string CertificateNames(const grpc::CallbackServerContext& context) {
  std::string names;
  for (const grpc::string_ref& name : context.auth_context()->GetPeerIdentity()) {
    names.append(name.data(), name.size()).push_back('\n');
  }
  return names;
}

constexpr uint64_t kLongestHopNs = uint64_t{3600} * 1'000'000'000;

uint64_t UnixNs() {
  return static_cast<uint64_t>(
      Nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count());
}

}  // namespace

GrpcTransport::GrpcTransport(GrpcTransportOptions options, Receiver* receiver)
    : options_(std::move(options)),
      receiver_(receiver),
      callers_({.most = options_.max_known_callers, .remember = 2 * options_.detection.lease}) {}

GrpcTransport::~GrpcTransport() { Shutdown(); }

// --- what the owner calls ---

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
  if (steps != nullptr) frame.mutable_steps()->set_sent_unix_ns(UnixNs());
  stream->Send(ToBytes(frame, steps == nullptr ? nullptr : steps->rows));
}

std::array<Histogram, kLanes> GrpcTransport::hop_latency() const {
  const std::lock_guard lock(mu_);
  return hop_latency_;
}

GrpcTransport::Reactor* GrpcTransport::Accept(grpc::CallbackServerContext* context) {
  LaneHandler* const handler = this;
  auto lane = std::make_shared<AcceptedLane>(options_.self.rows, options_.max_queued_bytes, context,
                                             handler);
  AcceptedLane* reactor = lane.get();  // lives until gRPC is done with it
  Stream info;
  info.certificate = CertificateNames(*context);
  if (Add(lane, std::move(info)) == nullptr) {
    // Nobody knows it: it ends at once and keeps itself.
    struct Refusal final : Reactor {
      Refusal() { Finish({grpc::StatusCode::UNAVAILABLE, "this process is shutting down"}); }
      void OnDone() override { delete this; }
    };
    return new Refusal;
  }
  AwaitHello(lane);
  reactor->Start(lane, options_.guard);
  return reactor;
}

void GrpcTransport::AwaitHello(const std::shared_ptr<LaneStream>& stream) {
  std::shared_ptr<LaneStream> oldest;
  {
    const std::lock_guard lock(mu_);
    // Whoever belongs here says hello at once, and does not become the oldest.
    if (strangers_.size() >= options_.max_strangers) {
      oldest = streams_.at(strangers_.begin()->second).stream;
      strangers_.erase(strangers_.begin());
    }
    Stream& info = streams_.at(stream.get());
    info.stranger = next_stranger_++;
    strangers_.emplace(info.stranger, stream.get());
    info.hello = std::make_unique<grpc::Alarm>();
    ++active_;
    info.hello->Set(std::chrono::system_clock::now() + options_.detection.hello,
                    [this, weak = std::weak_ptr(stream)](bool expired) {
                      if (const auto late = weak.lock(); late != nullptr && expired) {
                        late->End(absl::DeadlineExceededError("no hello came"));
                      }
                      Done();
                    });
  }
  if (oldest != nullptr) oldest->End(absl::ResourceExhaustedError("no hello came, and others did"));
}

void GrpcTransport::Shutdown() {
  // The first lane that ends ends the link for the peer: let that be the one on which it is told
  // how its sequences ended.
  std::vector<std::shared_ptr<LaneStream>> first, streams;
  {
    const std::lock_guard calls(calls_mu_);
    const std::lock_guard lock(mu_);
    shut_down_ = true;
    while (!links_.empty()) ForgetLocked(links_.begin()->second);
    for (auto& [_, info] : streams_) {
      info.silent = true;
      const bool is_first = info.link == nullptr && info.lane == Lane::kControl;
      (is_first ? first : streams).push_back(info.stream);
    }
    accepted_.clear();
  }
  const absl::Status why = absl::UnavailableError("the peer is shutting down");
  EndAndWait(std::move(first), why);
  for (const auto& s : streams) s->EndWhenWritten(why);
  streams.clear();
  std::unique_lock lock(mu_);
  const auto is_idle = [this] { return active_ == 0; };
  if (ended_.wait_for(lock, kEndGrace, is_idle)) return;
  for (auto& [_, info] : streams_) info.stream->Cancel();
  ended_.wait(lock, is_idle);
}

void GrpcTransport::EndAndWait(std::vector<std::shared_ptr<LaneStream>> streams,
                               const absl::Status& why) {
  std::vector<std::weak_ptr<LaneStream>> ending(streams.begin(), streams.end());
  for (const auto& s : streams) s->EndWhenWritten(why);
  streams.clear();
  std::unique_lock lock(mu_);
  ended_.wait_for(lock, kEndGrace, [&] {
    return std::all_of(ending.begin(), ending.end(), [](const auto& s) { return s.expired(); });
  });
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
  --active_;
  ended_.notify_all();
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

void GrpcTransport::LogRefusal(Incarnation caller, const absl::Status& status) {
  std::optional<std::string> line;
  {
    const std::lock_guard lock(mu_);
    if (status.ok()) return refusals_.Accepted(caller);
    line = refusals_.Refused(caller, Message(status), Now());
  }
  if (line) spdlog::warn("{}", *line);
}

// REQUIRES: mu_ is held.
absl::Status GrpcTransport::AdmitLocked(const Caller& caller, const Stream& info) {
  if (shut_down_) return absl::UnavailableError("the peer is shutting down");
  if (links_.contains(caller.incarnation)) return NotItself(caller.incarnation);
  if (!accepted_.contains(caller.incarnation) && accepted_.size() >= limits::kMaxPeers) {
    return absl::ResourceExhaustedError(
        fmt::format("{} processes have links here: end some", limits::kMaxPeers));
  }
  return callers_.Enter(caller, info.certificate, Now());
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
    CATENA_RETURN_IF_ERROR(AdmitLocked(caller, *info));
    info->entered = true;
    strangers_.erase(info->stranger);
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

void GrpcTransport::OnFrame(LaneStream* stream, ChainMessage message, uint64_t sent_unix_ns) {
  const uint64_t now = UnixNs();
  const std::lock_guard calls(calls_mu_);
  std::unique_lock lock(mu_);
  const Stream& info = streams_.at(stream);
  if (info.silent) return;
  const Incarnation peer = info.peer;
  const Lane lane = info.lane;
  if (sent_unix_ns > 0) {
    // A clock that is ahead of ours says nothing; one that is far behind, no more than an hour.
    const uint64_t took = now > sent_unix_ns ? now - sent_unix_ns : 0;
    hop_latency_[Index(lane)].Add(Nanoseconds(std::min(took, kLongestHopNs)));
  }
  lock.unlock();
  receiver_->OnMessage(peer, lane, std::move(message));
}

void GrpcTransport::OnEnd(LaneStream* stream, const absl::Status& why) {
  std::string line;
  Incarnation peer = 0;
  {
    const std::lock_guard calls(calls_mu_);
    std::unique_lock lock(mu_);
    const Stream info = std::move(streams_.extract(stream).mapped());
    peer = info.link == nullptr ? info.peer : info.link->peer.incarnation;
    if (info.hello != nullptr) info.hello->Cancel();
    if (info.link == nullptr) strangers_.erase(info.stranger);
    if (info.entered) callers_.Leave(info.peer, Now());
    lock.unlock();
    if (info.link == nullptr) {
      AcceptedEnded(info, stream, why);
    } else {
      line = CallEnded(info, why);
    }
  }  // here the stream is destroyed
  if (!line.empty()) spdlog::info("{}", line);
  if (absl::IsDataLoss(why)) LogAltered(peer);
  Done();
}

// Here, or at the peer: whoever called is told by the end of the stream.
void GrpcTransport::LogAltered(Incarnation peer) {
  ++altered_frames_;
  const auto held_back = altered_lines_.Take();
  if (!held_back) return;
  spdlog::error(
      "a frame between this process and {:x} came with other bits than were sent: a machine or a "
      "link is broken, or this is a bug ({} such lines were held back)",
      peer, *held_back);
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

}  // namespace catena
