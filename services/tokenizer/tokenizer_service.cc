#include "services/tokenizer/tokenizer_service.h"

#include <utility>

#include "runtime/text/prompt.h"
#include "services/common/replica_description.h"
#include "services/common/request_limits.h"
#include "services/common/status.h"
#include "services/tokenizer/decode_reactor.h"

namespace catena {
namespace {

grpc::ServerUnaryReactor* FinishNow(grpc::CallbackServerContext* context,
                                    const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

}  // namespace

TokenizerServiceImpl::TokenizerServiceImpl(TokenizerServiceOptions options)
    : options_(std::move(options)) {}

grpc::ServerUnaryReactor* TokenizerServiceImpl::Describe(
    grpc::CallbackServerContext* context, const v1::TokenizerServiceDescribeRequest*,
    v1::TokenizerServiceDescribeResponse* response) {
  EncodeReplicaInfo(options_.describe(), response->mutable_replica());
  response->set_has_tokenizer(options_.tokenizer != nullptr);
  response->set_has_chat_template(options_.chat.has_value());
  EncodeGeneration(options_.generation, response->mutable_generation());
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* TokenizerServiceImpl::Encode(grpc::CallbackServerContext* context,
                                                       const v1::EncodeRequest* request,
                                                       v1::EncodeResponse* response) {
  if (absl::Status size = CheckInputSize(*request); !size.ok()) return FinishNow(context, size);
  if (options_.pool->queued() >= limits::kMaxQueuedEncodes) {
    return FinishNow(context, absl::ResourceExhaustedError(
                                  "the tokenizer has too many texts waiting; try again later"));
  }
  // Request and response stay until the reactor is finished.
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool posted = options_.pool->Post([this, context, request, response, reactor] {
    if (context->IsCancelled()) return reactor->Finish(grpc::Status::CANCELLED);
    reactor->Finish(ToGrpcStatus(EncodeNow(*request, response)));
  });
  if (!posted) {
    reactor->Finish(ToGrpcStatus(absl::UnavailableError("the tokenizer is stopping")));
  }
  return reactor;
}

absl::Status TokenizerServiceImpl::EncodeNow(const v1::EncodeRequest& request,
                                             v1::EncodeResponse* response) const {
  if (options_.tokenizer == nullptr) {
    return absl::InvalidArgumentError(
        "the model has no tokenizer; give the prompt as token ids, or add tokenizer.json to the "
        "model");
  }
  std::vector<int32_t> ids;
  if (request.has_chat()) {
    if (!options_.chat) return options_.no_chat;
    ChatPrompt prompt{.messages = {}, .continue_final = request.chat().continue_final_message()};
    for (const v1::ChatMessage& m : request.chat().messages()) {
      prompt.messages.push_back({.role = m.role(), .content = m.content()});
    }
    CATENA_ASSIGN_OR_RETURN(*response->mutable_rendered(), options_.chat->Render(prompt));
    ids = options_.tokenizer->Encode(response->rendered());
  } else {
    ids = request.add_special_tokens() ? EncodePrompt(*options_.tokenizer, request.text())
                                       : options_.tokenizer->Encode(request.text());
  }
  response->mutable_ids()->Assign(ids.begin(), ids.end());
  return absl::OkStatus();
}

grpc::ServerBidiReactor<v1::DecodeRequest, v1::DecodeResponse>* TokenizerServiceImpl::Decode(
    grpc::CallbackServerContext*) {
  return new DecodeReactor(options_.tokenizer, &streams_);
}

grpc::ServerUnaryReactor* TokenizerServiceImpl::GetPieces(grpc::CallbackServerContext* context,
                                                          const v1::GetPiecesRequest* request,
                                                          v1::GetPiecesResponse* response) {
  if (request->ids_size() > limits::kMaxPieceIds) {
    return FinishNow(context, absl::InvalidArgumentError(fmt::format(
                                  "the request has {} ids: at most {} are taken; divide it",
                                  request->ids_size(), limits::kMaxPieceIds)));
  }
  for (const int32_t id : request->ids()) {
    std::string* piece = response->add_pieces();
    if (options_.tokenizer != nullptr) *piece = options_.tokenizer->Bytes(id);
  }
  return FinishNow(context, absl::OkStatus());
}

}  // namespace catena
