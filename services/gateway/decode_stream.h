// The text of one sequence as a tokenizer makes it of the ids. One message is in flight at a time:
// ids that come meanwhile wait and go together. Where a stream breaks or does not answer, or its
// replica drains, another one is opened, at another replica where there is one; it gets all ids
// from the start, and the text that was had already is dropped, so that the joined text is the same
// whatever broke.
//
// Thread rules: everything on one strand, the callback too.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "catena/v1/tokenizer.grpc.pb.h"

#include "kernels/base/status.h"
#include "runtime/chain/limits.h"
#include "services/common/worker_pool.h"
#include "services/gateway/tokenizer_replicas.h"

namespace catena {

struct DecodeStreamOptions {
  // A tokenizer that has not answered a message for so long has failed.
  std::chrono::milliseconds answer_timeout{5'000};
  // Without an answer from any tokenizer for so long the sequence fails.
  std::chrono::milliseconds give_up = limits::DetectionLimits().wait_for_route;
  std::chrono::milliseconds first_pause{10}, last_pause{1'000};  // between attempts
  // How often a stream looks whether its replica still takes new ones; probes tell that once a
  // second.
  std::chrono::milliseconds look_every{250};
};

class DecodeAttempt;

class DecodeStream : public std::enable_shared_from_this<DecodeStream> {
 public:
  struct Progress {
    std::string text;
    int64_t ids_used = 0;  // of those pushed, that these are the text of
    bool ended = false;    // nothing more comes: all ids are used, or a stop string was met
    bool stopped = false;  // by a stop string
  };
  // UNAVAILABLE where no tokenizer answers. After an error or `ended`: never again.
  using OnProgress = std::function<void(absl::StatusOr<Progress>)>;

  // `replicas` outlives it.
  static std::shared_ptr<DecodeStream> Open(v1::DecodeRules rules, std::shared_ptr<Strand> strand,
                                            TokenizerReplicas* replicas, OnProgress on_progress,
                                            const DecodeStreamOptions& options = {});

  void Push(absl::Span<const int32_t> ids);
  void End();     // no more ids: what was withheld comes out
  void Cancel();  // nothing is called any more

 private:
  friend class DecodeAttempt;
  using Clock = std::chrono::steady_clock;

  DecodeStream() = default;

  void Pump();
  bool MustLeave();  // its replica, which others could replace
  void Connect();
  void SendNext();
  void Watch();
  // From the attempt of this number; of an older one: nothing.
  void OnResponse(uint64_t attempt, const v1::DecodeResponse& response);
  void OnBroken(uint64_t attempt, const absl::Status& why);
  void TryAgain(const std::string& why);
  void Close();
  void Fail(absl::Status status);

  v1::DecodeRules rules_;
  std::shared_ptr<Strand> strand_;
  TokenizerReplicas* replicas_ = nullptr;
  OnProgress on_progress_;  // empty: over
  DecodeStreamOptions options_;

  std::vector<int32_t> ids_;
  bool ending_ = false;
  // What the caller has had.
  size_t used_ = 0, shown_bytes_ = 0;

  // The attempt that runs.
  std::shared_ptr<DecodeAttempt> attempt_;
  uint64_t attempt_number_ = 0;
  std::string address_;
  size_t sent_ = 0, answered_ = 0, answered_bytes_ = 0;
  bool end_sent_ = false, in_flight_ = false;

  size_t turn_ = 0;
  bool pausing_ = false, watching_ = false;
  std::chrono::milliseconds pause_{};
  Clock::time_point sent_at_, failing_since_, looked_at_;
  bool failing_ = false;
};

}  // namespace catena
