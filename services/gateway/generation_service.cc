#include "services/gateway/generation_service.h"

#include <utility>

#include "services/gateway/generate_call.h"
#include "services/gateway/request.h"
#include "services/gateway/score_call.h"

namespace catena {
namespace {

// Waits for a tokenizer; a client that goes away ends that.
class TokenizeCall final : public UnaryCall<v1::TokenizeRequest, v1::TokenizeResponse> {
 public:
  TokenizeCall(Front* front, std::chrono::system_clock::time_point deadline)
      : UnaryCall(&front->house), front_(*front), deadline_(deadline) {}

 private:
  absl::Status Begin(v1::TokenizeRequest request) override {
    CATENA_ASSIGN_OR_RETURN(const auto facts, front_.facts->LastFacts());
    CATENA_RETURN_IF_ERROR(CheckModel(request.model(), *facts));
    CATENA_RETURN_IF_ERROR(CheckText(request, *facts));
    v1::EncodeRequest encode;
    if (request.has_chat()) {
      encode.mutable_chat()->Swap(request.mutable_chat());
    } else {
      encode.set_text(std::move(*request.mutable_text()));
      encode.set_add_special_tokens(request.add_special_tokens());
    }
    encoding_ = front_.tokenizer->Encode(
        std::move(encode), deadline_, strand(),
        [self = Self<TokenizeCall>()](absl::StatusOr<v1::EncodeResponse> encoded) {
          self->encoding_ = nullptr;
          if (!encoded.ok()) return self->Fail(encoded.status());
          v1::TokenizeResponse response;
          response.mutable_ids()->Swap(encoded->mutable_ids());
          response.set_rendered(std::move(*encoded->mutable_rendered()));
          self->Reply(std::move(response));
        });
    return absl::OkStatus();
  }
  void Abandon() override {
    if (encoding_) std::exchange(encoding_, nullptr)();
  }

  const Front& front_;
  const std::chrono::system_clock::time_point deadline_;
  TokenizerClient::Canceller encoding_;
};

class ListModelsCall final : public UnaryCall<v1::ListModelsRequest, v1::ListModelsResponse> {
 public:
  ListModelsCall(Front* front, std::chrono::system_clock::time_point)
      : UnaryCall(&front->house), front_(*front) {}

 private:
  absl::Status Begin(v1::ListModelsRequest) override {
    CATENA_ASSIGN_OR_RETURN(const auto facts, front_.facts->LastFacts());
    v1::ListModelsResponse response;
    v1::Model* model = response.add_models();
    model->set_name(facts->model.name);
    model->set_vocab_size(facts->model.vocab_size);
    model->set_context_length(facts->model.context_length);
    model->set_fingerprint(facts->model.fingerprint);
    model->set_has_tokenizer(facts->has_tokenizer);
    Reply(std::move(response));
    return absl::OkStatus();
  }

  const Front& front_;
};

}  // namespace

GenerationServiceImpl::GenerationServiceImpl(Front* front) : front_(front) {
  AddCall<GenerateCall, v1::GenerateResponse>("Generate");
  AddCall<ScoreCall, v1::ScoreResponse>("Score");
  AddCall<TokenizeCall, v1::TokenizeResponse>("Tokenize");
  AddCall<ListModelsCall, v1::ListModelsResponse>("ListModels");
}

template <typename Call, typename Response>
void GenerationServiceImpl::AddCall(const std::string& method) {
  Add<Response>(v1::GenerationService::service_full_name(), method,
                [front = front_, method](grpc::CallbackServerContext* context) {
                  return Admit<Response>(
                      context, CheckKey(front->keys, *context), &front->calls, &front->refused,
                      [&] { return std::make_shared<Call>(front, context->deadline()); },
                      std::make_unique<RequestRecord>(method, context, &front->metrics,
                                                      &front->refusal_lines));
                });
}

}  // namespace catena
