// A shard at work: the stage, its core and the thread that runs them.
//
// Thread rules: as Actor; load and View from any thread.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "kernels/backends.h"
#include "runtime/actor/actor.h"
#include "runtime/chain/stage_core.h"
#include "runtime/stage.h"

namespace catena {

struct StageActorOptions {
  std::string backend = "auto";
  BackendOptions compute;
  StageOptions stage;  // its KV pages: as many as kv_bytes hold
  int64_t kv_bytes = 0;
  int64_t journal_bytes = 0;
};

class StageActor final : public Actor {
 public:
  static absl::StatusOr<std::unique_ptr<StageActor>> Load(const Checkpoint& checkpoint,
                                                          const StageActorOptions& options,
                                                          const LoadProgress& progress = nullptr);
  ~StageActor() override;  // Stop

  // What its hops carry, and the name of its arithmetic.
  int64_t row_bytes() const;
  DType row_dtype() const;
  std::string numerics_id() const;

  // As of the last round; the age of the oldest step as of now.
  ReplicaLoad load() const;
  // Calls `done` on the actor's thread, between two batches.
  void View(const SequenceKey& key, std::function<void(std::optional<SequenceView>)> done);

 private:
  class Memory;
  struct Parts;
  explicit StageActor(std::unique_ptr<Parts> parts);
  bool Work() override;
  void Prepare() override;
  void AfterRound(Instant now) override;
  Rows Input(const StageBatch& batch);

  std::unique_ptr<Parts> parts_;
  std::vector<StageSpan> spans_;
  std::string staging_;  // a batch's input, where it came in pieces
  mutable std::mutex mutex_;
  ReplicaLoad load_;
  Instant loaded_at_{};
};

}  // namespace catena
