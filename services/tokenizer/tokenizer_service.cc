#include "services/tokenizer/tokenizer_service.h"

#include <utility>

#include "runtime/text/prompt.h"
#include "services/common/replica_description.h"
#include "services/common/request_limits.h"
#include "services/common/status.h"
#include "services/tokenizer/decode_call.h"

namespace catena {
namespace {

constexpr size_t kMaxPiecesBytes =
    limits::kMaxQuestionBytes + size_t{limits::kMaxPieceIds} * limits::kMaxIdBytes;

}  // namespace

class TokenizerServiceImpl::EncodeCall final
    : public GuardedUnary<v1::EncodeRequest, v1::EncodeResponse> {
 public:
  explicit EncodeCall(const TokenizerServiceImpl* service)
      : GuardedUnary(limits::kMaxPublicMessageBytes), service_(*service) {}

 private:
  void Begin(v1::EncodeRequest request) override {
    if (absl::Status size = CheckInputSize(request); !size.ok()) return Fail(size);
    WorkerPool& pool = *service_.options_.pool;
    if (pool.queued() >= limits::kMaxQueuedEncodes) {
      return Fail(WithReason(
          absl::ResourceExhaustedError("the tokenizer has too many texts waiting; try again later"),
          ErrorReason::kQueueFull));
    }
    request_ = std::move(request);
    const bool posted = pool.Post([self = Self<EncodeCall>()] { self->Encode(); });
    if (!posted) {
      Fail(WithReason(absl::UnavailableError("the tokenizer is stopping"), ErrorReason::kDraining));
    }
  }
  void OnEnded(const absl::Status& status) override {
    TokenizerMetrics& metrics = service_.metrics_;
    metrics.Took(TokenizerMetrics::Method::kEncode, std::chrono::steady_clock::now() - came_);
    metrics.Ended(TokenizerMetrics::Method::kEncode, status.code());
  }
  void Encode() {
    if (is_over()) return;  // the client has gone
    absl::StatusOr<v1::EncodeResponse> response = service_.EncodeNow(request_);
    if (!response.ok()) return Fail(response.status());
    service_.metrics_.Encoded(response->ids_size());
    Reply(*std::move(response));
  }

  const TokenizerServiceImpl& service_;
  const std::chrono::steady_clock::time_point came_ = std::chrono::steady_clock::now();
  v1::EncodeRequest request_;
};

TokenizerServiceImpl::TokenizerServiceImpl(TokenizerServiceOptions options)
    : GuardedService(options.guard), options_(std::move(options)) {
  const std::string service(v1::TokenizerService::service_full_name());
  using DescribeCall =
      PromptCall<v1::TokenizerServiceDescribeRequest, v1::TokenizerServiceDescribeResponse>;
  using GetPiecesCall = PromptCall<v1::GetPiecesRequest, v1::GetPiecesResponse>;
  AddCall(service, "Describe", [this](grpc::CallbackServerContext*) {
    return std::make_shared<DescribeCall>(limits::kMaxQuestionBytes,
                                          [this](const auto&) { return Describe(); });
  });
  AddCall(service, "Encode",
          [this](grpc::CallbackServerContext*) { return std::make_shared<EncodeCall>(this); });
  AddCall(service, "Decode", [this](grpc::CallbackServerContext*) {
    return std::make_shared<DecodeCall>(options_.tokenizer, &streams_, &metrics_);
  });
  AddCall(service, "GetPieces", [this](grpc::CallbackServerContext*) {
    return std::make_shared<GetPiecesCall>(
        kMaxPiecesBytes, [this](const auto& request) { return CountedPieces(request); });
  });
}

v1::TokenizerServiceDescribeResponse TokenizerServiceImpl::Describe() const {
  v1::TokenizerServiceDescribeResponse response;
  EncodeReplicaInfo(options_.describe(), response.mutable_replica());
  response.set_has_tokenizer(options_.tokenizer != nullptr);
  response.set_has_chat_template(options_.chat.has_value());
  EncodeGeneration(options_.generation, response.mutable_generation());
  return response;
}

absl::StatusOr<v1::EncodeResponse> TokenizerServiceImpl::EncodeNow(
    const v1::EncodeRequest& request) const {
  if (options_.tokenizer == nullptr) {
    return absl::InvalidArgumentError(
        "the model has no tokenizer; give the prompt as token ids, or add tokenizer.json to the "
        "model");
  }
  v1::EncodeResponse response;
  std::vector<int32_t> ids;
  if (request.has_chat()) {
    if (!options_.chat) return options_.no_chat;
    ChatPrompt prompt{.messages = {}, .continue_final = request.chat().continue_final_message()};
    for (const v1::ChatMessage& m : request.chat().messages()) {
      prompt.messages.push_back({.role = m.role(), .content = m.content()});
    }
    CATENA_ASSIGN_OR_RETURN(EncodedChat encoded,
                            EncodeChat(*options_.tokenizer, *options_.chat, std::move(prompt)));
    response.set_rendered(std::move(encoded.rendered));
    ids = std::move(encoded.ids);
  } else {
    CATENA_ASSIGN_OR_RETURN(ids, request.add_special_tokens()
                                     ? EncodePrompt(*options_.tokenizer, request.text())
                                     : options_.tokenizer->Encode(request.text()));
  }
  response.mutable_ids()->Assign(ids.begin(), ids.end());
  return response;
}

absl::StatusOr<v1::GetPiecesResponse> TokenizerServiceImpl::CountedPieces(
    const v1::GetPiecesRequest& request) const {
  const auto came = std::chrono::steady_clock::now();
  absl::StatusOr<v1::GetPiecesResponse> response = GetPieces(request);
  metrics_.Took(TokenizerMetrics::Method::kGetPieces, std::chrono::steady_clock::now() - came);
  metrics_.Ended(TokenizerMetrics::Method::kGetPieces, response.status().code());
  return response;
}

absl::StatusOr<v1::GetPiecesResponse> TokenizerServiceImpl::GetPieces(
    const v1::GetPiecesRequest& request) const {
  if (request.ids_size() > limits::kMaxPieceIds) {
    return WithField(absl::InvalidArgumentError(
                         fmt::format("the request has {} ids: at most {} are taken; divide it",
                                     request.ids_size(), limits::kMaxPieceIds)),
                     "ids");
  }
  v1::GetPiecesResponse response;
  for (const int32_t id : request.ids()) {
    std::string* piece = response.add_pieces();
    if (options_.tokenizer != nullptr) *piece = options_.tokenizer->Bytes(id);
  }
  return response;
}

}  // namespace catena
