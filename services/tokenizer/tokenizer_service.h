// The tokenizer role: text to ids on a few threads of its own, ids to text as they come. It has no
// state but its open Decode streams, so any number of replicas will do.
//
// Thread rules: gRPC calls the methods from its own threads, which nothing here holds up.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "catena/v1/tokenizer.grpc.pb.h"

#include "model/chat/chat_template.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/chain/replica_info.h"
#include "services/common/guarded_service.h"
#include "services/common/worker_pool.h"
#include "services/tokenizer/tokenizer_metrics.h"

namespace catena {

struct TokenizerServiceOptions {
  // Null where the model's files have none: prompts are then ids, and every text is "".
  std::shared_ptr<const Tokenizer> tokenizer;
  // None where the model's is unknown; `no_chat` then says what to do about it.
  std::optional<ChatTemplate> chat;
  absl::Status no_chat;
  GenerationConfig generation;
  std::function<ReplicaInfo()> describe;  // from any thread
  // Where Encode runs; outlives the service's server.
  WorkerPool* pool = nullptr;
  MessageGuard* guard = nullptr;  // of the server (GuardedService)
};

class TokenizerServiceImpl final : public GuardedService {
 public:
  explicit TokenizerServiceImpl(TokenizerServiceOptions options);

  // Decode streams that are open.
  int64_t streams() const { return streams_; }
  // Adds what it counts.
  void Collect(Exposition& page) const { metrics_.Collect(page); }

 private:
  class EncodeCall;

  v1::TokenizerServiceDescribeResponse Describe() const;
  absl::StatusOr<v1::EncodeResponse> EncodeNow(const v1::EncodeRequest& request) const;
  absl::StatusOr<v1::GetPiecesResponse> GetPieces(const v1::GetPiecesRequest& request) const;
  absl::StatusOr<v1::GetPiecesResponse> CountedPieces(const v1::GetPiecesRequest& request) const;

  const TokenizerServiceOptions options_;
  std::atomic<int64_t> streams_{0};
  mutable TokenizerMetrics metrics_;
};

}  // namespace catena
