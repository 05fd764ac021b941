// What a tokenizer counts: calls by how they ended, tokens, and the time they took.
//
// Thread rules: any thread.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <utility>

#include "kernels/base/status.h"
#include "services/telemetry/exposition.h"

namespace catena {

class TokenizerMetrics {
 public:
  enum class Method { kEncode, kDecode, kGetPieces };

  // `time`: from a call's arrival; of a Decode stream, of one message.
  void Took(Method method, Nanoseconds time);
  void Ended(Method method, absl::StatusCode code);
  void Encoded(int64_t tokens);
  void Decoded(int64_t tokens);

  void Collect(Exposition& page) const;

 private:
  mutable std::mutex mutex_;  // of all below
  std::map<std::pair<Method, absl::StatusCode>, int64_t> ended_;
  std::array<Histogram, 3> seconds_{Histogram(kSecondsBounds), Histogram(kSecondsBounds),
                                    Histogram(kSecondsBounds)};  // by method
  int64_t encoded_ = 0, decoded_ = 0;
};

}  // namespace catena
