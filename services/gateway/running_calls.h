// The calls that a gateway answers at a time: how many there may be, and how they end when it
// stops.
//
// Thread rules: any thread; Drain blocks.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "kernels/base/status.h"

namespace catena {

class RunningCalls {
 public:
  class Call {
   public:
    virtual ~Call() = default;
    // Ends it with an error that its client reads. From any thread; does not block.
    virtual void End(const absl::Status& why) = 0;
  };

  // One of the calls, until it is destroyed.
  class Place {
   public:
    Place(RunningCalls* calls, uint64_t number) : calls_(calls), number_(number) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { calls_->Leave(number_); }
    // Whose place it is: whoever is to be ended.
    void BelongsTo(const std::weak_ptr<Call>& call) { calls_->Bind(number_, call); }

   private:
    RunningCalls* const calls_;
    const uint64_t number_;
  };

  // `what` names them in errors: "requests".
  RunningCalls(size_t most, std::string what) : most_(most), what_(std::move(what)) {}

  // UNAVAILABLE while it drains, RESOURCE_EXHAUSTED where there are as many as there may be.
  absl::StatusOr<std::unique_ptr<Place>> Enter();

  // No new calls from now on; those that run may for `grace`, then they are ended. Returns when
  // all have gone, and `patience` after the end of the grace at the latest: how many were ended.
  // `tell` is called with how many run, at first and when that has changed.
  size_t Drain(
      std::chrono::milliseconds grace, std::chrono::milliseconds patience,
      const std::function<void(size_t)>& tell = [](size_t) {});

 private:
  void Leave(uint64_t number);
  void Bind(uint64_t number, const std::weak_ptr<Call>& call);

  const size_t most_;
  const std::string what_;
  std::mutex mutex_;
  std::condition_variable left_;
  std::map<uint64_t, std::weak_ptr<Call>> calls_;
  uint64_t next_ = 0;
  bool draining_ = false;
  std::optional<absl::Status> ended_;  // with which all were ended
};

}  // namespace catena
