// A peer that writes what it likes, on one lane of a link.
//
// Thread rules: one thread.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include "services/common/channel.h"
#include "services/common/credentials.h"
#include "services/link/frame_bytes.h"
#include "services/link/handshake.h"
#include "tests/services/link/grpc_rig.h"

namespace catena {

// A peer that writes what it likes, on one lane.
class RawPeer : private grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit RawPeer(const std::string& address, const TlsOptions& tls = {})
      : stub_(MakeChannel(address, MakeChannelCredentials(tls, PeerNames::kAnyMember).value(),
                          {.own_connection = true})) {
    stub_.PrepareBidiStreamingCall(&context_, "/catena.v1.ChainService/Link", {}, this);
    AddHold();
    StartRead(&in_);
    StartCall();
  }
  // A reactor has to outlive its stream.
  ~RawPeer() override {
    if (!end_.valid()) return;
    context_.TryCancel();
    RemoveHold();
    end_.wait();
  }
  void Write(const std::string& bytes) {
    const grpc::Slice slice(bytes);
    Write(grpc::ByteBuffer(&slice, 1));
  }
  void Write(const grpc::ByteBuffer& bytes) {
    written_ = std::promise<void>();
    out_ = bytes;
    StartWrite(&out_);
    written_.get_future().wait();
  }
  // For the welcome: only then is it known that the hello has come.
  [[nodiscard]] bool WaitForAnswer() { return Came(answered_.get_future()); }
  [[nodiscard]] bool HasEnded() const { return ended_; }
  // Of the stream, which the other side ends.
  grpc::Status WaitForEnd() {
    RemoveHold();
    if (!Came(end_)) context_.TryCancel();
    return end_.get();
  }

 private:
  template <typename Future>
  static bool Came(const Future& future) {
    return future.wait_for(kPatience) == std::future_status::ready;
  }
  void OnReadDone(bool ok) override {
    if (!ok) ended_ = true;
    if (!ok) return;
    if (!std::exchange(has_answer_, true)) answered_.set_value();
    StartRead(&in_);
  }
  void OnWriteDone(bool) override { written_.set_value(); }
  void OnDone(const grpc::Status& status) override { done_.set_value(status); }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer in_, out_;
  bool has_answer_ = false;
  std::atomic<bool> ended_ = false;
  std::promise<void> written_, answered_;
  std::promise<grpc::Status> done_;
  std::future<grpc::Status> end_ = done_.get_future();
};

inline constexpr LinkSecret kSecret{1, 2, 3}, kOtherSecret{1, 2, 4};

inline grpc::ByteBuffer Hello(const LinkIdentity& self, Incarnation expected, Lane lane,
                              const LinkSecret& secret = kSecret) {
  v1::Frame frame;
  MakeHello(self, secret, expected, lane, &frame);
  return ToBytes(frame);
}

inline grpc::ByteBuffer Hello(Incarnation self, Incarnation expected, Lane lane,
                              const LinkSecret& secret = kSecret) {
  return Hello(TestIdentity(self), expected, lane, secret);
}

}  // namespace catena
