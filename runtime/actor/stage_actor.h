// A shard at work: the stage, its core and the thread that runs them.
//
// Thread rules: as Actor; load and View from any thread.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "kernels/backends.h"
#include "runtime/actor/actor.h"
#include "runtime/chain/stage_core.h"
#include "runtime/stage/stage.h"

namespace catena {

struct StageActorOptions {
  std::string backend = "auto";
  BackendOptions compute;
  StageOptions stage;  // its KV pages: as many as kv_bytes hold
  int64_t kv_bytes = 0;
  std::optional<int64_t> journal_bytes;  // absent: DefaultJournalBytes
  limits::DetectionLimits detection{};
};

class StageActor final : public Actor {
 public:
  static absl::StatusOr<std::unique_ptr<StageActor>> Load(const Checkpoint& checkpoint,
                                                          const StageActorOptions& options,
                                                          const LoadProgress& progress = nullptr);
  // On this backend instead of the options' one.
  static absl::StatusOr<std::unique_ptr<StageActor>> Load(const Checkpoint& checkpoint,
                                                          const StageActorOptions& options,
                                                          std::unique_ptr<Backend> backend,
                                                          const LoadProgress& progress = nullptr);
  ~StageActor() override;  // Stop

  // What its hops carry, and the name of its arithmetic.
  int64_t row_bytes() const;
  DType row_dtype() const;
  std::string numerics_id() const;

  // As of the last round; the age of the oldest step and the progress as of now, also while a batch
  // runs.
  ReplicaLoad load() const;
  // load, whether it drains, and which links are broken.
  void Describe(ReplicaInfo* info) const;
  // No new sequences are taken from now on.
  void Drain();
  // Ends all sequences, telling their gateways why, and then calls `done` on the actor's thread:
  // what they are told is with the transport. Not at all once the actor is stopped.
  void EndAll(const absl::Status& why, std::function<void()> done);
  // As of the last round.
  StageCounters counters() const;
  // Called on the actor's thread, with no lock held, after a round in which rows were not what
  // they were. Before Start.
  void OnRowFaults(std::function<void(const RowFaults&)> fn) { on_row_faults_ = std::move(fn); }
  // Calls `done` on the actor's thread, between two batches.
  void View(const SequenceKey& key, std::function<void(std::optional<SequenceView>)> done);

 private:
  class Memory;
  struct Parts;
  explicit StageActor(std::unique_ptr<Parts> parts);
  bool Work() override;
  bool Begin(const StageBatch& batch);
  void ExpectWork() override;
  void AfterRound(Instant now) override;
  absl::Span<const HostRows> Input(const StageBatch& batch);

  std::unique_ptr<Parts> parts_;
  std::vector<StageSpan> spans_;
  std::atomic<int64_t> progress_{0};
  std::vector<HostRows> input_;  // of a batch
  bool running_ = false;         // a batch
  mutable std::mutex mutex_;
  ReplicaLoad load_;
  std::optional<Instant> oldest_step_;
  bool draining_ = false;
  std::vector<Edge> broken_edges_;
  StageCounters counters_;
  std::function<void(const RowFaults&)> on_row_faults_;
  int64_t row_faults_seen_ = 0;
};

}  // namespace catena
