// The core of a head: which rows it turns into logits together, and the tokens that come of them.
// It holds what sampling is a function of (ids, parameters, seed) and nothing else; a result is
// repeated until the gateway says that it came (DESIGN section 4, rule 6).
//
// Thread rules: see Core.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "model/sampler/token_history.h"
#include "runtime/chain/core.h"
#include "runtime/chain/inbox.h"
#include "runtime/chain/limits.h"
#include "runtime/chain/replica_info.h"
#include "runtime/chain/sequence_table.h"

namespace catena {

struct HeadCoreOptions {
  int64_t row_bytes = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;
  int64_t max_rows = 64;  // of a batch
};

class HeadCore : public Core {
 public:
  explicit HeadCore(const HeadCoreOptions& options) : options_(options) {}

  void Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) override;
  void Disconnected(Incarnation, const absl::Status&, Instant) override {}
  void Tick(Instant now) override;
  std::optional<Instant> WakeAt() const override;

  // The rows of the next batch, or null where none wait. REQUIRES: none is running.
  const std::vector<RowRun>* NextBatch(Instant now);
  // Their logits, (rows, vocab_size).
  void Complete(const float* logits, Instant now);

  int64_t row_bytes() const { return options_.row_bytes; }
  ReplicaLoad load(Instant now) const;
  std::optional<SequenceView> View(const SequenceKey& key);

 private:
  struct Result {
    Token token;
    Instant sent;
  };
  struct Sequence {
    Sequence(OpenHead open, Sampler sampler, const HeadCoreOptions& options);
    OpenHead open;
    Sampler sampler;
    Inbox inbox;
    TokenHistory history;        // of the positions that were consumed
    std::vector<int32_t> ids;    // of all that were received
    std::deque<Result> results;  // not known to have come
    Incarnation upstream = 0;
    int64_t acknowledged = 0;  // length as last told upstream
    bool owes_lengths = false;
    bool running = false;
    bool closed = false;
    std::optional<int64_t> rewind;
    bool ready = false;
  };

  void On(Incarnation from, Lane lane, OpenHead& open, Instant now);
  void On(Incarnation from, Lane lane, Close& close, Instant now);
  void On(Incarnation from, Lane lane, Heartbeat& heartbeat, Instant now);
  void On(Incarnation from, Lane lane, Steps& steps, Instant now);
  void On(Incarnation from, Lane lane, SentLengths& sent, Instant now);
  template <class M>
  void On(Incarnation, Lane, M&, Instant) {}

  absl::Status CheckOpen(const OpenHead& open) const;
  absl::Status Admit(OpenHead open);
  void TakeStep(Incarnation from, Lane lane, Step& step, const Steps& steps, size_t offset,
                Instant now);
  bool IsCurrent(Sequence* s, const Life& life, int64_t position);
  void RewindTo(Sequence* s, int64_t position);
  void CloseSequence(const SequenceKey& key);
  void AskUpstream(Sequence* s, Instant now);
  void TakeIds(Sequence* s, const Step& step);
  void MarkReady(Sequence* s);

  int64_t RunnableRows(const Sequence& s) const;
  absl::Status TakeRow(Sequence* s, int64_t position, const float* logits, Instant now);
  absl::StatusOr<SampledToken> Score(const Sequence& s, int64_t position,
                                     absl::Span<const float> logits) const;

  void Collect(const Token& token);
  void SendTokens();
  void Acknowledge(Sequence* s);
  void SendAcknowledgements();

  HeadCoreOptions options_;
  SequenceTable<Sequence> table_;
  Instant tick_at_{};
  std::deque<Sequence*> ready_;
  std::vector<std::unique_ptr<Sequence>> closing_;  // closed while they run
  SamplerScratch scratch_;

  struct Span {
    Sequence* sequence;
    int64_t first_position;  // of its rows
    int64_t rows;
  };
  std::vector<RowRun> batch_;
  std::vector<Span> running_;
  int64_t batch_rows_ = 0;
  Instant started_{};

  std::vector<int32_t> popped_;                         // scratch
  std::vector<std::pair<Incarnation, Tokens>> tokens_;  // being put together
  std::vector<std::pair<Incarnation, Lengths>> acknowledgements_;
  int64_t batches_ = 0;
  int64_t rows_done_ = 0;
  int64_t divergences_ = 0;
};

}  // namespace catena
