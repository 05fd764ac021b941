#include "services/gateway/generation_service.h"

#include <utility>

#include "runtime/chain/limits.h"
#include "services/common/status.h"
#include "services/gateway/generate_call.h"
#include "services/gateway/request.h"
#include "services/gateway/score_call.h"

namespace catena {
namespace {

grpc::ServerUnaryReactor* FinishNow(grpc::CallbackServerContext* context,
                                    const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

// Tokenize waits for a tokenizer; a client that goes away ends that.
class TokenizeReactor final : public grpc::ServerUnaryReactor {
 public:
  static TokenizeReactor* Run(const Front& front, v1::EncodeRequest request,
                              std::chrono::system_clock::time_point deadline,
                              v1::TokenizeResponse* response) {
    auto* reactor = new TokenizeReactor;
    const auto strand = Strand::Make(front.pool);
    reactor->strand_ = strand;
    // On the strand, so that the canceller is there before anything can happen.
    strand->Post([reactor, response, deadline, strand, client = front.tokenizer,
                  request = std::move(request)]() mutable {
      reactor->cancel_ =
          client->Encode(std::move(request), deadline, strand,
                         [reactor, response](absl::StatusOr<v1::EncodeResponse> encoded) {
                           if (encoded.ok()) {
                             response->mutable_ids()->Swap(encoded->mutable_ids());
                             response->set_rendered(std::move(*encoded->mutable_rendered()));
                           }
                           reactor->cancel_ = nullptr;
                           reactor->Finish(ToGrpcStatus(encoded.status()));
                         });
    });
    return reactor;
  }

  void OnCancel() override {
    strand_->Post([this] {
      if (cancel_) cancel_();
    });
  }
  void OnDone() override {
    strand_->Post([this] { delete this; });
  }

 private:
  std::shared_ptr<Strand> strand_;
  TokenizerClient::Canceller cancel_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const ModelFacts>> GenerationServiceImpl::Admit(
    const grpc::CallbackServerContext& context) const {
  CATENA_RETURN_IF_ERROR(front_.keys.Check(context));
  return front_.facts->Facts();
}

template <typename Request>
absl::StatusOr<std::shared_ptr<const ModelFacts>> GenerationServiceImpl::Check(
    const grpc::CallbackServerContext& context, const Request& request) const {
  CATENA_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFacts> facts, Admit(context));
  CATENA_RETURN_IF_ERROR(CheckModel(request.model(), *facts));
  CATENA_RETURN_IF_ERROR(CheckText(request, *facts));
  return facts;
}

grpc::ServerWriteReactor<v1::GenerateResponse>* GenerationServiceImpl::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  using Refused = RefusedStream<v1::GenerateResponse>;
  const auto facts = Check(*context, *request);
  if (!facts.ok()) return new Refused(facts.status());
  auto params = ResolveSampling(request->sampling(), **facts, DrawSeed());
  if (!params.ok()) return new Refused(params.status());
  return GenerateCall::Run(std::make_shared<GenerateCall>(front_, *facts, *request,
                                                          *std::move(params), context->deadline()));
}

grpc::ServerWriteReactor<v1::ScoreResponse>* GenerationServiceImpl::Score(
    grpc::CallbackServerContext* context, const v1::ScoreRequest* request) {
  using Refused = RefusedStream<v1::ScoreResponse>;
  const auto facts = Check(*context, *request);
  if (!facts.ok()) return new Refused(facts.status());
  if (request->top() < 0 || request->top() > limits::kMaxTopLogprobs) {
    return new Refused(absl::InvalidArgumentError(fmt::format(
        "top is {}: it must be from 0 to {}", request->top(), limits::kMaxTopLogprobs)));
  }
  return ScoreCall::Run(std::make_shared<ScoreCall>(front_, *facts, *request, context->deadline()));
}

grpc::ServerUnaryReactor* GenerationServiceImpl::Tokenize(grpc::CallbackServerContext* context,
                                                          const v1::TokenizeRequest* request,
                                                          v1::TokenizeResponse* response) {
  if (const auto facts = Check(*context, *request); !facts.ok()) {
    return FinishNow(context, facts.status());
  }
  v1::EncodeRequest encode;
  if (request->has_chat()) {
    *encode.mutable_chat() = request->chat();
  } else {
    encode.set_text(request->text());
    encode.set_add_special_tokens(request->add_special_tokens());
  }
  return TokenizeReactor::Run(front_, std::move(encode), context->deadline(), response);
}

grpc::ServerUnaryReactor* GenerationServiceImpl::ListModels(grpc::CallbackServerContext* context,
                                                            const v1::ListModelsRequest*,
                                                            v1::ListModelsResponse* response) {
  const auto facts = Admit(*context);
  if (!facts.ok()) return FinishNow(context, facts.status());
  v1::Model* model = response->add_models();
  model->set_name((*facts)->model.name);
  model->set_vocab_size((*facts)->model.vocab_size);
  model->set_context_length((*facts)->model.context_length);
  model->set_fingerprint((*facts)->model.fingerprint);
  model->set_has_tokenizer((*facts)->has_tokenizer);
  return FinishNow(context, absl::OkStatus());
}

}  // namespace catena
