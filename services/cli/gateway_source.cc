#include "services/cli/gateway_source.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/sampler/sampling_limits.h"
#include "model/tokenizer/utf8.h"
#include "services/cli/interrupt.h"
#include "services/cli/text_so_far.h"
#include "services/common/process.h"

namespace catena::cli {
namespace {

// Of a text that breaks off again and again, without a new token.
constexpr int kMostTries = 5;

// `Request` with the prompt's text or ids; only GenerateRequest takes chat. Protobuf takes valid
// UTF-8 only; the tokenizer would make the same of the rest.
template <typename Request>
void SetPrompt(const TextPrompt& prompt, Request* request) {
  if (const auto* text = std::get_if<std::string>(&prompt)) request->set_text(ToValidUtf8(*text));
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) {
    request->mutable_tokens()->mutable_ids()->Assign(ids->begin(), ids->end());
  }
}

void SetChat(const ChatPrompt& prompt, v1::ChatMessages* out) {
  out->set_continue_final_message(prompt.continue_final);
  for (const ChatMessage& m : prompt.messages) {
    v1::ChatMessage* message = out->add_messages();
    message->set_role(m.role);
    message->set_content(ToValidUtf8(m.content));
  }
}

void SetSampling(const SamplingOverrides& in, v1::SamplingOptions* out) {
  if (in.temperature) out->set_temperature(*in.temperature);
  if (in.top_k) out->set_top_k(*in.top_k);
  if (in.top_p) out->set_top_p(*in.top_p);
  if (in.min_p) out->set_min_p(*in.min_p);
  if (in.typical_p) out->set_typical_p(*in.typical_p);
  if (in.repetition_penalty) out->set_repetition_penalty(*in.repetition_penalty);
  if (in.presence_penalty) out->set_presence_penalty(*in.presence_penalty);
  if (in.frequency_penalty) out->set_frequency_penalty(*in.frequency_penalty);
  if (in.seed) out->set_seed(*in.seed);
  if (in.max_tokens) out->set_max_tokens(*in.max_tokens);
  if (in.min_tokens) out->set_min_tokens(*in.min_tokens);
  if (in.n) out->set_n(*in.n);
  if (in.speculate) out->set_speculate(*in.speculate);
  if (in.logprobs) out->set_logprobs(*in.logprobs);
  if (in.top_logprobs) out->set_top_logprobs(*in.top_logprobs);
  if (in.ignore_eos) out->set_ignore_eos(*in.ignore_eos);
  for (const std::string& stop : in.stop) out->add_stop(ToValidUtf8(stop));
  out->mutable_stop_token_ids()->Assign(in.stop_token_ids.begin(), in.stop_token_ids.end());
  out->mutable_logit_bias()->insert(in.logit_bias.begin(), in.logit_bias.end());
}

TokenText TextOf(const v1::TokenLogprob& token) {
  return {token.id(), ReadableBytes(token.piece()), token.logprob()};
}

TextDelta DeltaOf(const v1::GenerateResponse& r) {
  TextDelta delta;
  delta.sequence = r.index();
  delta.text = r.text();
  delta.sequence_id = r.start().sequence_id();
  delta.ids.assign(r.token_ids().begin(), r.token_ids().end());
  for (const v1::TokenLogprobs& l : r.logprobs()) {
    TokenTexts& texts = delta.logprobs.emplace_back();
    texts.chosen = TextOf(l.chosen());
    for (const v1::TokenLogprob& t : l.top()) texts.top.push_back(TextOf(t));
  }
  if (r.has_finish()) {
    const bool stop = r.finish().reason() == v1::FINISH_REASON_STOP;
    delta.finish = stop ? FinishReason::kStop : FinishReason::kLength;
  }
  return delta;
}

// Of all sequences, which run side by side: the longest times.
void AddStats(const v1::GenerateResponse& r, TextStats* stats) {
  if (r.has_start()) {
    stats->seed = r.start().seed();
    stats->prompt_tokens = r.start().prompt_tokens();
  }
  stats->completion_tokens += r.token_ids_size();
  if (!r.has_finish()) return;
  stats->drafted_tokens += r.finish().drafted_tokens();
  stats->accepted_tokens += r.finish().accepted_tokens();
  stats->moves += r.finish().moves();
  stats->replayed_tokens += r.finish().replayed_tokens();
  stats->noticed_s =
      std::max(stats->noticed_s, static_cast<double>(r.finish().noticed_ns()) * 1e-9);
  stats->paused_s = std::max(stats->paused_s, static_cast<double>(r.finish().paused_ns()) * 1e-9);
  stats->prefill_s =
      std::max(stats->prefill_s, static_cast<double>(r.finish().prefill_ns()) * 1e-9);
  stats->decode_s = std::max(stats->decode_s, static_cast<double>(r.finish().decode_ns()) * 1e-9);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TextSource>> GatewaySource::Open(const GatewayOptions& gateway,
                                                                const std::string& model) {
  CATENA_ASSIGN_OR_RETURN(GatewayClient client, GatewayClient::Connect(gateway));
  return std::unique_ptr<TextSource>(
      new GatewaySource(std::move(client), ToValidUtf8(ModelNameOf(model))));
}

absl::StatusOr<bool> GatewaySource::HasTokenizer() {
  CATENA_ASSIGN_OR_RETURN(const v1::ListModelsResponse models, client_.ListModels());
  for (const v1::Model& m : models.models()) {
    if (model_.empty() || m.name() == model_) return m.has_tokenizer();
  }
  return false;  // the gateway says what is wrong with the model
}

absl::Status GatewaySource::PrepareChat(const SamplingOverrides&) {
  return client_.ListModels().status();
}

absl::StatusOr<TextStats> GatewaySource::Generate(const TextPrompt& prompt,
                                                  const SamplingOverrides& sampling,
                                                  const OnDelta& on_delta) {
  v1::GenerateRequest request;
  request.set_model(model_);
  SetPrompt(prompt, &request);
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) {
    SetChat(*chat, request.mutable_chat());
  }
  SetSampling(sampling, request.mutable_sampling());
  TextStats stats;
  const auto sequences = static_cast<uint32_t>(sampling.n.value_or(1));
  TextSoFar so_far(sequences);
  const auto take = [&](const v1::GenerateResponse& response) {
    if (response.index() >= sequences) {
      return absl::InternalError(
          fmt::format("the gateway sent a sequence {} of {}", response.index(), sequences));
    }
    if (so_far.is_whole(response.index())) return absl::OkStatus();
    so_far.Take(response);
    AddStats(response, &stats);
    return on_delta(DeltaOf(response));
  };
  for (int tries = 0;; ++tries) {
    const int64_t before = so_far.tokens();
    const absl::Status status = client_.Generate(request, take);
    if (status.ok()) return stats;
    if (so_far.tokens() > before) tries = 0;
    // A text that has begun goes on with whatever gateway is there next.
    if (!absl::IsUnavailable(status) || !so_far.begun() || tries == kMostTries) return status;
    const absl::Status back = client_.AwaitGateway();
    if (InterruptFlag().load()) return back;
    if (!back.ok()) return status;  // why it broke off says more than that nobody is there
    so_far.AskForRest(&request);
  }
}

absl::Status GatewaySource::Score(const TextPrompt& prompt, int top,
                                  const OnPosition& on_position) {
  CATENA_ASSIGN_OR_RETURN(const bool has_tokenizer, HasTokenizer());
  auto piece = [&](const v1::TokenLogprob& token) -> std::optional<std::string> {
    if (!has_tokenizer) return std::nullopt;
    return ReadableBytes(token.piece());
  };
  v1::ScoreRequest request;
  request.set_model(model_);
  SetPrompt(prompt, &request);
  request.set_top(top);
  return client_.Score(request, [&](const v1::ScoreResponse& r) {
    ScoredPosition out{.position = r.position(),
                       .id = r.token().id(),
                       .piece = piece(r.token()),
                       .probability = {},
                       .next = {}};
    if (r.has_logprob()) out.probability = std::exp(double{r.token().logprob()});
    for (const v1::TokenLogprob& t : r.next()) {
      out.next.push_back({t.id(), piece(t), std::exp(double{t.logprob()})});
    }
    return on_position(out);
  });
}

}  // namespace catena::cli
