// What a shard's and a head's core have in common: the sequences that are open, the steps that come
// for them, what they tell upstream, and the leases that end them.
//
// Between a batch's start and its end messages may come (a simulation, later a GPU, computes beside
// them); what they do to a sequence that is running takes effect when the batch is done.
//
// Thread rules: see Core.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/chain/core.h"
#include "runtime/chain/inbox.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/replica_info.h"
#include "runtime/chain/sequence_table.h"

namespace catena {

// A sequence at a stage. Stages add what else they hold.
struct ReceivingSequence {
  ReceivingSequence(const SequenceKey& k, const Life& l, const Inbox::Options& options)
      : key(k),
        life(l),
        inbox(options),
        acknowledged(options.begin),
        acknowledge_every(std::max<int64_t>(1, options.window / 2)) {}
  virtual ~ReceivingSequence() = default;

  SequenceKey key;
  Life life;
  Inbox inbox;                // begin(): positions given to a batch
  Incarnation upstream = 0;   // who sends it
  int64_t acknowledged;       // length as last told upstream
  int64_t acknowledge_every;  // positions, so that upstream's window never closes for want of news
  bool owes_lengths = false;  // bulk rows came: upstream waits to hear of their end
  bool ready = false;         // in ready_
  bool running = false;       // in the batch that runs
  bool closed = false;        // while it ran
  std::optional<int64_t> rewind;  // to there, once it has run
};

class ReceivingCore : public Core {
 public:
  void Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) final;
  void Connected(Incarnation, Instant) override {}
  void Disconnected(Incarnation, const absl::Status&, Instant) override {}
  void Tick(Instant now) final;
  std::optional<Instant> WakeAt() const final;

  int64_t row_bytes() const { return row_bytes_; }
  // Nothing that has come could be run now.
  bool idle() const { return ready_.empty(); }
  // Sequences, queue and batches; stages add what is theirs.
  virtual ReplicaLoad load(Instant now) const;

 protected:
  // The lane of what goes up the chain.
  static constexpr Lane kReplyLane = Lane::kDecode;

  ReceivingCore(int64_t row_bytes, int64_t vocab_size)
      : row_bytes_(row_bytes), vocab_size_(vocab_size) {}

  // --- what a stage does ---
  virtual void OnOther(Incarnation from, ChainMessage& message, Instant now) = 0;
  // After new positions of `step` were queued.
  virtual void OnQueued(ReceivingSequence* s, const Step& step) = 0;
  // A heartbeat named it: results below `taken` have come.
  virtual void OnRenewed(ReceivingSequence*, int64_t /*taken*/, Instant) {}
  virtual void OnTick(Instant) {}
  // What is ready waits until then unless a message comes.
  virtual std::optional<Instant> Postponed() const { return std::nullopt; }
  // Positions whose work is done.
  virtual int64_t Length(const ReceivingSequence& s) const = 0;
  // Whether some of its queue could be run now.
  virtual bool Runnable(const ReceivingSequence& s) const = 0;
  // Forgets positions from `position` on, or from an earlier one where it must, which it returns.
  // REQUIRES: it is not running.
  virtual int64_t Forget(ReceivingSequence* s, int64_t position) = 0;
  // Positions from `position` on are others now (a roll-back): also what was sent of them.
  virtual void RollBack(ReceivingSequence*, int64_t /*position*/) {}
  // It is closed and no batch has it.
  virtual void Free(ReceivingSequence*) {}

  // --- what stages use ---
  ReceivingSequence* Find(const SequenceKey& key) { return table_.Find(key); }
  ReceivingSequence* Insert(std::unique_ptr<ReceivingSequence> s);
  size_t size() const { return table_.size(); }
  // For the destructor of a stage whose sequences refer to its members.
  void Clear() { table_.Clear(); }
  template <class Fn>
  void ForEach(const Fn& fn) {
    table_.ForEach([&fn](const SequenceKey&, ReceivingSequence& s) { fn(&s); });
  }
  void Renew(Incarnation gateway, Instant now) { table_.Renew(gateway, now); }
  void CloseSequence(const SequenceKey& key);
  // Ends a sequence, telling its gateway why.
  void Refuse(const SequenceKey& key, const Life& life, const absl::Status& why);
  void RewindTo(ReceivingSequence* s, int64_t position);
  void AskUpstream(ReceivingSequence* s, Instant now);
  void MarkReady(ReceivingSequence* s);
  // Upstream is told of bulk rows as soon as they are done (it may then change lanes), of decodes
  // once half a window has gone.
  void Acknowledge(ReceivingSequence* s);
  void SendAcknowledgements();
  // A batch starts, with these; it is done. What waited for its end is done then.
  void Started(Instant now) { started_ = now; }
  void Finished(int64_t rows, Instant now);

  std::deque<ReceivingSequence*> ready_;     // have queued rows, oldest first
  std::vector<ReceivingSequence*> running_;  // have a part in the batch
  Instant started_{};
  int64_t batches_ = 0;

 private:
  void On(Incarnation from, Close& close);
  void On(Incarnation from, Heartbeat& heartbeat, Instant now);
  void On(Incarnation from, Lane lane, Steps& steps, Instant now);
  void On(Incarnation from, SentLengths& sent, Instant now);
  void TakeStep(Incarnation from, Lane lane, Step& step, const Steps& steps, size_t offset,
                Instant now);
  bool IsCurrent(ReceivingSequence* s, const Life& life, int64_t position);

  const int64_t row_bytes_;
  const int64_t vocab_size_;
  SequenceTable<ReceivingSequence> table_;
  std::vector<std::unique_ptr<ReceivingSequence>> closing_;  // closed while they run
  std::vector<std::pair<Incarnation, Lengths>> acknowledgements_;
  Instant tick_at_{};
  int64_t rows_done_ = 0;
  int64_t divergences_ = 0;
};

}  // namespace catena
