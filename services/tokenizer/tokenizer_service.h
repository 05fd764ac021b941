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
#include "services/common/worker_pool.h"

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
};

class TokenizerServiceImpl final : public v1::TokenizerService::CallbackService {
 public:
  explicit TokenizerServiceImpl(TokenizerServiceOptions options);

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context,
                                     const v1::TokenizerServiceDescribeRequest* request,
                                     v1::TokenizerServiceDescribeResponse* response) override;
  grpc::ServerUnaryReactor* Encode(grpc::CallbackServerContext* context,
                                   const v1::EncodeRequest* request,
                                   v1::EncodeResponse* response) override;
  grpc::ServerBidiReactor<v1::DecodeRequest, v1::DecodeResponse>* Decode(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetPieces(grpc::CallbackServerContext* context,
                                      const v1::GetPiecesRequest* request,
                                      v1::GetPiecesResponse* response) override;

  // Decode streams that are open.
  int64_t streams() const { return streams_; }

 private:
  absl::Status EncodeNow(const v1::EncodeRequest& request, v1::EncodeResponse* response) const;

  const TokenizerServiceOptions options_;
  std::atomic<int64_t> streams_{0};
};

}  // namespace catena
