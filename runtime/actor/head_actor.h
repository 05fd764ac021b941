// A head at work: the last norm, the LM head, the sampler, their core and the thread that runs
// them.
//
// Thread rules: as Actor; load and View from any thread.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "kernels/backends.h"
#include "runtime/actor/actor.h"
#include "runtime/chain/head_core.h"
#include "runtime/stage/head.h"

namespace catena {

struct HeadActorOptions {
  std::string backend = "auto";
  BackendOptions compute;
  int max_rows = 64;  // of a batch
  int64_t max_positions = 0;
  limits::DetectionLimits detection{};
};

class HeadActor final : public Actor {
 public:
  static absl::StatusOr<std::unique_ptr<HeadActor>> Load(const Checkpoint& checkpoint,
                                                         const HeadActorOptions& options);
  // On this backend instead of the options' one.
  static absl::StatusOr<std::unique_ptr<HeadActor>> Load(const Checkpoint& checkpoint,
                                                         const HeadActorOptions& options,
                                                         std::unique_ptr<Backend> backend);
  ~HeadActor() override;  // Stop

  // What its hops carry, and the name of its arithmetic.
  int64_t row_bytes() const;
  DType row_dtype() const;
  std::string numerics_id() const;

  // As of the last round; the age of the oldest step and the progress as of now, also while a batch
  // runs.
  ReplicaLoad load() const;
  // load, and whether it drains.
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
  struct Parts;
  explicit HeadActor(std::unique_ptr<Parts> parts);
  bool Work() override;
  void Begin(const std::vector<RowRun>& batch);
  void ExpectWork() override;
  void AfterRound(Instant now) override;

  std::unique_ptr<Parts> parts_;
  std::vector<HostRows> input_;  // of a batch
  bool running_ = false;         // a batch
  mutable std::mutex mutex_;
  ReplicaLoad load_;
  std::optional<Instant> oldest_step_;
  bool draining_ = false;
  StageCounters counters_;
  std::function<void(const RowFaults&)> on_row_faults_;
  int64_t row_faults_seen_ = 0;
};

}  // namespace catena
