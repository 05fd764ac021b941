// A core: the logic of one role as a state machine without threads, clocks or sockets (sans-IO). It
// takes messages, the time and the results of work, and leaves messages to send and work to do. An
// Actor (runtime/actor/) drives it with threads and a Transport, tests/sim/ with a seeded network.
//
// Thread rules: one thread at a time.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "runtime/chain/instant.h"
#include "runtime/chain/messages.h"

namespace catena {

struct CoreOutput {
  std::vector<Replica> connect;  // reach these first
  std::vector<Envelope> send;

  void Send(Incarnation to, Lane lane, ChainMessage message) {
    send.push_back({.to = to, .lane = lane, .message = std::move(message)});
  }
  void Connect(const Replica& replica) { connect.push_back(replica); }
};

class Core {
 public:
  virtual ~Core() = default;
  virtual void Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) = 0;
  // As Receiver::OnConnect and OnDisconnect.
  virtual void Connected(Incarnation peer, Instant now) = 0;
  virtual void Disconnected(Incarnation peer, const absl::Status& why, Instant now) = 0;
  // Heartbeats, leases, deadlines.
  virtual void Tick(Instant now) = 0;
  // When Tick has something to do; nullopt: not before the next message.
  virtual std::optional<Instant> WakeAt() const = 0;

  CoreOutput TakeOutput() { return std::exchange(output_, {}); }

 protected:
  void Send(Incarnation to, Lane lane, ChainMessage message) {
    output_.Send(to, lane, std::move(message));
  }
  void Connect(const Replica& replica) { output_.Connect(replica); }
  // For the parts of a core that send by themselves.
  CoreOutput* output() { return &output_; }

 private:
  CoreOutput output_;
};

// What a stage holds of one sequence, for `catena debug`.
struct SequenceView {
  Life life;
  int64_t length = 0;         // positions computed
  int64_t queued_end = 0;     // positions received
  int64_t cursor = 0;         // positions sent on
  int64_t journal_begin = 0;  // rows kept: [journal_begin, length)
  int64_t window_end = 0;     // positions that may be sent
};

}  // namespace catena
