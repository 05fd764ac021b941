// The public gRPC API: who asks, what for, and the call that answers (generate_call.h,
// score_call.h).
//
// Thread rules: gRPC calls the methods from its own threads, which nothing here holds up.
#pragma once

#include <optional>
#include <string>

#include "catena/v1/generation.grpc.pb.h"

#include "services/gateway/front.h"

namespace catena {

class GenerationServiceImpl final : public v1::GenerationService::CallbackService {
 public:
  explicit GenerationServiceImpl(Front front) : front_(std::move(front)) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerWriteReactor<v1::ScoreResponse>* Score(grpc::CallbackServerContext* context,
                                                     const v1::ScoreRequest* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;

 private:
  absl::StatusOr<std::shared_ptr<const ModelFacts>> Admit(
      const grpc::CallbackServerContext& context) const;
  // Admit, and the model and prompt are such as the facts say.
  template <typename Request>
  absl::StatusOr<std::shared_ptr<const ModelFacts>> Check(
      const grpc::CallbackServerContext& context, const Request& request) const;

  const Front front_;
};

}  // namespace catena
