// One lane of a link as a stream of gRPC's callback API, whichever side made it: hello and welcome
// first, then frames both ways. One write is in flight at most; it starts on the thread that sends
// where none is, so that a message does not wait for another thread, and else the frame queues, up
// to a limit.
//
// Thread rules: Send, Open and End from any thread; they never block. A handler's calls for one
// stream come one at a time, from gRPC's threads, OnEnd last.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>
#include <grpcpp/support/server_callback.h>

#include "services/common/message_guard.h"
#include "services/link/codec.h"

namespace catena {

class LaneStream;

class LaneHandler {
 public:
  virtual ~LaneHandler() = default;
  // The first frame: a hello or a welcome. An error ends the stream.
  virtual absl::Status OnHandshake(LaneStream* stream, const v1::Frame& frame) = 0;
  // `sent_unix_ns`: when steps were sent, as their sender says; 0 where nothing is said.
  virtual void OnFrame(LaneStream* stream, ChainMessage message, uint64_t sent_unix_ns) = 0;
  // Nothing is called afterwards, and gRPC has let go of the stream. `why` is an error.
  virtual void OnEnd(LaneStream* stream, const absl::Status& why) = 0;
};

class LaneStream {
 public:
  virtual ~LaneStream() = default;
  LaneStream(const LaneStream&) = delete;
  LaneStream& operator=(const LaneStream&) = delete;

  // Queues a frame; dropped where the stream has ended or too much is queued.
  void Send(grpc::ByteBuffer frame);

  // Writes what waits for the handshake's end, after `welcome` where that is not null.
  void Open(const grpc::ByteBuffer* welcome = nullptr);

  // Nothing is written or handled afterwards; the peer learns `why` where it called.
  void End(const absl::Status& why);
  // The same, once what was sent has been written.
  void EndWhenWritten(const absl::Status& why);
  // Without waiting for the peer to take what is on its way. After End.
  virtual void Cancel() = 0;

 protected:
  struct Options {
    RowFormat rows;
    int64_t max_queued_bytes = 0;
    bool hold = true;  // frames that are sent before Open, or drop them
  };
  LaneStream(const Options& options, LaneHandler* handler) : options_(options), handler_(handler) {}

  virtual void StartFrameWrite(const grpc::ByteBuffer* frame) = 0;
  virtual void StartEnd(const absl::Status& why) = 0;  // once

  // To be called where gRPC says so. True where the next read may start.
  bool FrameRead(grpc::ByteBuffer* bytes);
  void FrameWritten(bool ok);

  void WriteFirst(grpc::ByteBuffer frame);  // the hello; before everything else
  void StopWriting();                       // the peer has ended the stream
  LaneHandler* handler() const { return handler_; }
  absl::Status why();  // of End; OK where it was not called

 private:
  absl::Status Handle(grpc::ByteBuffer* bytes);
  void PumpLocked();
  void EndLocked(const absl::Status& why);

  const Options options_;
  LaneHandler* const handler_;
  bool shaken_ = false, has_checksums_ = false;  // only the reader's

  std::mutex mu_;  // of all below; held while a write starts
  bool open_ = false, ended_ = false, writing_ = false;
  bool ending_ = false;  // when all is written, by why_
  int64_t queued_bytes_ = 0;
  std::deque<grpc::ByteBuffer> queue_;
  grpc::ByteBuffer in_flight_;
  absl::Status why_;
};

// The side that called: ChainService.Link.
class CallingLane final : public LaneStream,
                          public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  struct CallOptions {
    RowFormat rows;
    int64_t max_queued_bytes = 0;
    bool wait_for_ready = false;  // goes on connecting; frames are dropped until it is opened
  };
  CallingLane(const CallOptions& options, const std::shared_ptr<grpc::Channel>& channel,
              LaneHandler* handler);

  void Start(grpc::ByteBuffer hello);  // once

  void Cancel() override { context_.TryCancel(); }

 private:
  void StartFrameWrite(const grpc::ByteBuffer* frame) override { StartWrite(frame); }
  void StartEnd(const absl::Status& why) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override { FrameWritten(ok); }
  void OnDone(const grpc::Status& status) override;

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer read_;
};

// The side that was called.
class AcceptedLane final : public LaneStream,
                           public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  AcceptedLane(const RowFormat& rows, int64_t max_queued_bytes,
               grpc::CallbackServerContext* context, LaneHandler* handler)
      : LaneStream({rows, max_queued_bytes}, handler),
        context_(context),
        max_frame_bytes_(static_cast<size_t>(MaxFrameBytes(rows))) {}

  // Once. `self`: this one. `guard`: outlives it; null: nobody looks at what comes.
  void Start(const std::weak_ptr<LaneStream>& self, MessageGuard* guard);

  void Cancel() override { context_->TryCancel(); }

 private:
  void StartFrameWrite(const grpc::ByteBuffer* frame) override { StartWrite(frame); }
  void StartEnd(const absl::Status& why) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override { FrameWritten(ok); }
  void OnCancel() override;
  void OnDone() override;

  grpc::CallbackServerContext* const context_;
  const size_t max_frame_bytes_;
  grpc::ByteBuffer read_;
  std::optional<MessageGuard::Reading> reading_;
};

}  // namespace catena
