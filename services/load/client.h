// Many Generate streams at a time over one channel, with the times at which tokens came.
//
// Thread rules: Start, Wait and CancelAll on one thread; gRPC's threads only note what happens.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "catena/v1/generation.grpc.pb.h"
#include <grpcpp/grpcpp.h>

#include "services/load/mix.h"

namespace catena::load {

using Clock = std::chrono::steady_clock;

// A token, or each of a few that came together, after the one before it.
struct TokenGap {
  Clock::time_point at;
  double seconds = 0;
};

struct CallResult {
  int kind = 0;  // the caller's own
  grpc::Status status;
  bool cancelled = false;  // by us
  bool had_deadline = false;
  int64_t prompt_tokens = 0, output_tokens = 0;
  std::optional<double> first_token_s;
  std::optional<double> queue_s;  // as the server says
  double end_to_end_s = 0;
  std::vector<TokenGap> gaps;
};

class LoadClient {
 public:
  // `authorization`: of each call; "" for none.
  LoadClient(const std::shared_ptr<grpc::Channel>& channel, std::string authorization);
  ~LoadClient();  // cancels what runs and waits for it

  void Start(RequestSpec spec, int kind = 0);
  // The next call to finish, or nothing where none does until then.
  std::optional<CallResult> Wait(Clock::time_point until);
  void CancelAll();
  int running() const { return running_; }
  // That all calls have received so far.
  int64_t tokens() const { return tokens_; }

 private:
  class Call;
  void OnFinished(Call* call);

  std::unique_ptr<v1::GenerationService::Stub> stub_;
  const std::string authorization_;
  std::map<const Call*, std::unique_ptr<Call>> calls_;  // on the caller's thread
  int running_ = 0;                                     // the same
  std::atomic<int64_t> tokens_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Call*> finished_;  // guarded by mutex_
};

}  // namespace catena::load
