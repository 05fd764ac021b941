// The gateway as a client of its tokenizers: encodes texts, opens Decode streams and knows the
// bytes of tokens. Any replica will do for any call, so a call that fails goes to another one.
//
// Thread rules: any thread; nothing blocks. Callbacks run on the strand that the caller gives.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/chain/limits.h"
#include "services/gateway/decode_stream.h"

namespace catena {

struct TokenizerClientOptions {
  std::chrono::milliseconds call_timeout{20'000};  // of one attempt at Encode or GetPieces
  // A call fails after so many replicas failed it: what ends each of them is not sent for ever.
  int attempts = 8;
  // While no replica serves it waits so long for one.
  std::chrono::milliseconds wait = limits::DetectionLimits().wait_for_route;
  std::chrono::milliseconds first_pause{10}, last_pause{1'000};  // between attempts
  // One that no longer serves is not waited for; that is looked at so often.
  std::chrono::milliseconds look_every{500};
  DecodeStreamOptions decode;
};

class TokenizerClient {
 public:
  using Clock = std::chrono::system_clock;
  using OnEncoded = std::function<void(absl::StatusOr<v1::EncodeResponse>)>;
  using OnPieces = std::function<void(absl::Status)>;
  // Ends a call; its callback comes with CANCELLED, or with what it had.
  using Canceller = std::function<void()>;

  // `replicas` outlives it and its calls.
  explicit TokenizerClient(TokenizerReplicas* replicas, TokenizerClientOptions options = {})
      : replicas_(replicas), options_(options) {}

  Canceller Encode(v1::EncodeRequest request, Clock::time_point deadline,
                   std::shared_ptr<Strand> strand, OnEncoded done);

  std::shared_ptr<DecodeStream> OpenDecode(v1::DecodeRules rules, std::shared_ptr<Strand> strand,
                                           DecodeStream::OnProgress on_progress) {
    return DecodeStream::Open(std::move(rules), std::move(strand), replicas_,
                              std::move(on_progress), options_.decode);
  }

  // Those of `ids` whose bytes are not known yet, each once.
  std::vector<int32_t> MissingPieces(absl::Span<const int32_t> ids) const;
  // Learns them. At most kMaxPieceIds at a time.
  Canceller FetchPieces(std::vector<int32_t> ids, Clock::time_point deadline,
                        std::shared_ptr<Strand> strand, OnPieces done);
  // REQUIRES: fetched before.
  std::string Piece(int32_t id) const;

 private:
  TokenizerReplicas* replicas_;
  const TokenizerClientOptions options_;
  std::atomic<size_t> turn_{0};

  // One entry a token that was ever asked for: at most the vocabulary.
  mutable std::shared_mutex mutex_;
  std::unordered_map<int32_t, std::string> pieces_;
};

}  // namespace catena
