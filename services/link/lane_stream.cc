#include "services/link/lane_stream.h"

#include "services/common/status.h"
#include "services/link/frame_bytes.h"
#include "services/link/link_limits.h"

namespace catena {
namespace {

constexpr char kLinkMethod[] = "/catena.v1.ChainService/Link";

}  // namespace

void LaneStream::Send(grpc::ByteBuffer frame) {
  const auto bytes = static_cast<int64_t>(frame.Length());
  const std::lock_guard lock(mu_);
  if (ended_ || ending_ || !(open_ || options_.hold)) return;
  if (!queue_.empty() && queued_bytes_ + bytes > options_.max_queued_bytes) return;
  queued_bytes_ += bytes;
  queue_.push_back(std::move(frame));
  PumpLocked();
}

void LaneStream::Open(const grpc::ByteBuffer* welcome) {
  const std::lock_guard lock(mu_);
  if (ended_) return;
  open_ = true;
  if (welcome != nullptr) {
    queued_bytes_ += static_cast<int64_t>(welcome->Length());
    queue_.push_front(*welcome);
  }
  PumpLocked();
}

void LaneStream::End(const absl::Status& why) {
  const std::lock_guard lock(mu_);
  EndLocked(why);
}

void LaneStream::EndWhenWritten(const absl::Status& why) {
  const std::lock_guard lock(mu_);
  if (!open_) return EndLocked(why);
  ending_ = true;
  why_ = why;
  PumpLocked();
}

void LaneStream::EndLocked(const absl::Status& why) {
  if (ended_) return;
  ended_ = true;
  why_ = why;
  queue_.clear();
  StartEnd(why);
}

void LaneStream::WriteFirst(grpc::ByteBuffer frame) {
  const std::lock_guard lock(mu_);
  writing_ = true;
  in_flight_.Swap(&frame);
  StartFrameWrite(&in_flight_);
}

void LaneStream::StopWriting() {
  const std::lock_guard lock(mu_);
  ended_ = true;
}

void LaneStream::PumpLocked() {
  if (!open_ || ended_ || writing_) return;
  if (queue_.empty()) {
    if (ending_) EndLocked(why_);
    return;
  }
  writing_ = true;
  in_flight_.Swap(&queue_.front());
  queue_.pop_front();
  queued_bytes_ -= static_cast<int64_t>(in_flight_.Length());
  StartFrameWrite(&in_flight_);
}

void LaneStream::FrameWritten(bool ok) {
  const std::lock_guard lock(mu_);
  writing_ = false;
  in_flight_.Clear();
  if (ok) PumpLocked();  // else the stream is broken, which the reader learns too
}

absl::Status LaneStream::why() {
  const std::lock_guard lock(mu_);
  return why_;
}

absl::Status LaneStream::Handle(grpc::ByteBuffer* bytes) {
  if (!shaken_ && bytes->Length() > limits::kMaxHandshakeBytes) {
    return absl::InvalidArgumentError(
        fmt::format("the first frame has {} bytes: it is no handshake", bytes->Length()));
  }
  v1::Frame frame;
  CATENA_RETURN_IF_ERROR(FromBytes(bytes, has_checksums_, &frame));
  if (!shaken_) {
    shaken_ = true;
    const uint32_t version =
        frame.has_hello() ? frame.hello().protocol_version() : frame.welcome().protocol_version();
    has_checksums_ = version >= kChecksumsFrom;
    return handler_->OnHandshake(this, frame);
  }
  const uint64_t sent_unix_ns = frame.steps().sent_unix_ns();
  CATENA_ASSIGN_OR_RETURN(ChainMessage message, Decode(options_.rows, &frame));
  handler_->OnFrame(this, std::move(message), sent_unix_ns);
  return absl::OkStatus();
}

bool LaneStream::FrameRead(grpc::ByteBuffer* bytes) {
  const absl::Status status = Handle(bytes);
  if (!status.ok()) End(status);
  const std::lock_guard lock(mu_);
  return !ended_;
}

CallingLane::CallingLane(const CallOptions& options, const std::shared_ptr<grpc::Channel>& channel,
                         LaneHandler* handler)
    : LaneStream({options.rows, options.max_queued_bytes, !options.wait_for_ready}, handler),
      stub_(channel) {
  context_.set_wait_for_ready(options.wait_for_ready);
}

void CallingLane::Start(grpc::ByteBuffer hello) {
  stub_.PrepareBidiStreamingCall(&context_, kLinkMethod, {}, this);
  // Others than gRPC's callbacks start writes: the hold keeps the call until the reader is done.
  AddHold();
  StartRead(&read_);
  WriteFirst(std::move(hello));
  StartCall();
}

// The read then fails, and ends the rest.
void CallingLane::StartEnd(const absl::Status&) { context_.TryCancel(); }

void CallingLane::OnReadDone(bool ok) {
  if (ok && FrameRead(&read_)) return StartRead(&read_);
  StopWriting();
  RemoveHold();  // without it no write may start
}

void CallingLane::OnDone(const grpc::Status& status) {
  absl::Status reason = why();
  if (reason.ok()) reason = FromGrpcStatus(status);
  if (reason.ok()) reason = absl::UnavailableError("the peer ended the stream");
  handler()->OnEnd(this, reason);
}

void AcceptedLane::StartEnd(const absl::Status& why) { Finish(ToGrpcStatus(why)); }

void AcceptedLane::Start(const std::weak_ptr<LaneStream>& self, MessageGuard* guard) {
  reading_.emplace(guard, context_->peer(), limits::kMaxHandshakeBytes,
                   [self](const absl::Status& why) {
                     if (const auto lane = self.lock()) lane->End(why);
                   });
  StartRead(&read_);
}

void AcceptedLane::OnReadDone(bool ok) {
  ok ? reading_->Next(read_.Length(), max_frame_bytes_) : reading_->Done(0);
  if (ok && FrameRead(&read_)) return StartRead(&read_);
  if (!ok) End(absl::UnavailableError("the peer ended the stream"));
}

void AcceptedLane::OnCancel() { End(absl::UnavailableError("the connection to the peer broke")); }

void AcceptedLane::OnDone() { handler()->OnEnd(this, why()); }

}  // namespace catena
