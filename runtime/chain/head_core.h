// The core of a head: which rows it turns into logits together, and the tokens that come of them.
// It holds what sampling is a function of (ids, parameters, seed) and nothing else; a result is
// repeated until the gateway says that it came (DESIGN section 4, rule 6).
//
//   ReceivingEnd ─▶ NextBatch ─▶ (the head) ─▶ Complete ─▶ Tokens ─▶ gateway
//
// Thread rules: see Core.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "runtime/chain/batch_limit.h"
#include "runtime/chain/head_sequence.h"
#include "runtime/chain/receiving_end.h"

namespace catena {

struct HeadCoreOptions {
  int64_t row_bytes = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;
  int64_t max_rows = 64;  // of a batch
  limits::DetectionLimits detection{};
};

class HeadCore final : public Core {
 public:
  explicit HeadCore(const HeadCoreOptions& options);

  void Receive(Incarnation from, Lane lane, ChainMessage message, Instant now) override;
  void Connected(Incarnation, Instant) override {}
  void Disconnected(Incarnation, const absl::Status&, Instant) override {}
  void Tick(Instant now) override;
  std::optional<Instant> WakeAt() const override;

  // The rows of the next batch, there until it is done, or null where none wait. REQUIRES: none is
  // running.
  const std::vector<RowRun>* NextBatch(Instant now);
  // Their logits, (rows, vocab_size).
  void Complete(LogitSource& logits, Instant now);

  // From here on no new sequences are taken, and those that are here had better leave.
  void Drain();
  bool draining() const { return receiving_.draining(); }
  // Ends all sequences, telling their gateways why.
  void EndAll(const absl::Status& why) { receiving_.EndAll(why); }

  int64_t row_bytes() const { return options_.row_bytes; }
  // Nothing that has come could be run now.
  bool idle() const { return receiving_.queue().idle(); }
  ReplicaLoad load(Instant now) const { return receiving_.load(now); }
  // Since when the oldest step that could run has waited.
  std::optional<Instant> oldest_step() const { return receiving_.queue().OldestStep(); }
  const StageCounters& counters() const { return receiving_.counters(); }
  std::optional<SequenceView> View(const SequenceKey& key);

 private:
  // Messages.
  void On(Incarnation from, OpenHead& open, Instant now);
  absl::Status CheckOpen(const OpenHead& open) const;
  absl::Status Admit(OpenHead open, Instant now);
  absl::Status Install(HeadSequence* s, const OpenHead& open, Instant now);
  void Announce(const HeadSequence& s);
  void Repeat(HeadSequence* s, Instant now);

  // Results.
  void Take(HeadSequence* s, int64_t position, LogitSource& logits, int64_t row, Instant now);
  void Collect(const Token& token);
  void SendTokens();

  HeadCoreOptions options_;
  ReceivingEnd<HeadSequence> receiving_;
  BatchLimit limit_;
  Instant tick_at_{};
  SamplerScratch scratch_;
  std::vector<RowRun> batch_;
  struct Span {
    int64_t first_position;  // of its rows
    int64_t rows;
  };
  std::vector<Span> spans_;  // of the sequences that run
  int64_t batch_rows_ = 0;
  std::vector<int32_t> consumed_;                       // scratch
  std::vector<std::pair<Incarnation, Tokens>> tokens_;  // being put together
};

}  // namespace catena
