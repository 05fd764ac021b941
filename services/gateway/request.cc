#include "services/gateway/request.h"

#include <algorithm>
#include <random>

#include "model/sampler/sampling_limits.h"
#include "runtime/text/prompt.h"
#include "services/common/request_limits.h"
#include "services/common/status.h"

namespace catena {
namespace {

template <typename T, typename Field>
void Take(bool has, Field value, std::optional<T>* out) {
  if (has) *out = static_cast<T>(value);
}

SamplingOverrides OverridesOf(const v1::SamplingOptions& in) {
  SamplingOverrides out;
  Take(in.has_temperature(), in.temperature(), &out.temperature);
  Take(in.has_top_k(), in.top_k(), &out.top_k);
  Take(in.has_top_p(), in.top_p(), &out.top_p);
  Take(in.has_min_p(), in.min_p(), &out.min_p);
  Take(in.has_typical_p(), in.typical_p(), &out.typical_p);
  Take(in.has_repetition_penalty(), in.repetition_penalty(), &out.repetition_penalty);
  Take(in.has_presence_penalty(), in.presence_penalty(), &out.presence_penalty);
  Take(in.has_frequency_penalty(), in.frequency_penalty(), &out.frequency_penalty);
  Take(in.has_seed(), in.seed(), &out.seed);
  Take(in.has_max_tokens(), in.max_tokens(), &out.max_tokens);
  Take(in.has_min_tokens(), in.min_tokens(), &out.min_tokens);
  Take(in.has_n(), in.n(), &out.n);
  Take(in.has_speculate(), in.speculate(), &out.speculate);
  Take(in.has_logprobs(), in.logprobs(), &out.logprobs);
  Take(in.has_top_logprobs(), in.top_logprobs(), &out.top_logprobs);
  Take(in.has_ignore_eos(), in.ignore_eos(), &out.ignore_eos);
  out.stop.assign(in.stop().begin(), in.stop().end());
  out.stop_token_ids.assign(in.stop_token_ids().begin(), in.stop_token_ids().end());
  out.logit_bias.insert(in.logit_bias().begin(), in.logit_bias().end());
  return out;
}

// Before anything is copied. Validate checks what each may hold.
absl::Status CheckCounts(const v1::SamplingOptions& in) {
  struct Row {
    const char* field;
    size_t count, most;
  };
  for (const Row& row :
       {Row{"stop", static_cast<size_t>(in.stop_size()), kMaxStopStrings},
        Row{"stop_token_ids", static_cast<size_t>(in.stop_token_ids_size()), kMaxStopTokenIds},
        Row{"logit_bias", static_cast<size_t>(in.logit_bias_size()), kMaxLogitBiases}}) {
    if (row.count <= row.most) continue;
    return WithField(absl::InvalidArgumentError(fmt::format("{} has {} entries: at most {} are "
                                                            "allowed",
                                                            row.field, row.count, row.most)),
                     fmt::format("sampling.{}", row.field));
  }
  return absl::OkStatus();
}

// Validate names flags, "--top-p is 2"; here they are fields, "top_p is 2".
std::string FieldNames(std::string_view text) {
  std::string out;
  bool in_name = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "--") {
      in_name = true;
      if (text.substr(i, 10) == "--logprobs") out += "top_";
      ++i;
      continue;
    }
    if (in_name && text[i] != '-' && (text[i] < 'a' || text[i] > 'z')) in_name = false;
    out += in_name && text[i] == '-' ? '_' : text[i];
  }
  return out;
}

// The same with the field that is to blame: the first flag that it names, or its first word.
absl::Status InFieldNames(const absl::Status& status) {
  if (status.ok()) return status;
  const std::string_view text = Message(status);
  const size_t flag = text.find("--");
  const std::string from_flag = FieldNames(text.substr(flag == text.npos ? 0 : flag));
  const size_t end = from_flag.find_first_not_of("abcdefghijklmnopqrstuvwxyz_");
  return WithField(absl::Status(status.code(), FieldNames(text)),
                   "sampling." + from_flag.substr(0, end));
}

absl::Status CheckTokenizer(const ModelFacts& facts, bool chat) {
  if (!facts.has_tokenizer) {
    return WithField(
        WithReason(absl::InvalidArgumentError("the model has no tokenizer; give the prompt as "
                                              "token ids, or add tokenizer.json to the model"),
                   ErrorReason::kNoTokenizer),
        chat ? "chat" : "text");
  }
  if (chat && !facts.has_chat_template) {
    return WithField(
        absl::InvalidArgumentError("the model has no chat template that is known; give the prompt "
                                   "as text, or start the tokenizer with --chat-template"),
        "chat");
  }
  return absl::OkStatus();
}

template <typename Request>
const char* InputField(const Request& request) {
  return request.has_chat() ? "chat.messages" : "text";
}

template <typename Request>
absl::Status CheckPromptText(const Request& request, const ModelFacts& facts, bool chat) {
  if (request.prompt_case() == Request::PROMPT_NOT_SET) {
    return WithField(absl::InvalidArgumentError("there is no prompt; give text or tokens"),
                     "prompt");
  }
  if (request.has_tokens()) {
    const auto& ids = request.tokens().ids();
    return CheckPromptIds({ids.data(), static_cast<size_t>(ids.size())}, facts);
  }
  return CheckTokenizer(facts, chat);
}

}  // namespace

absl::StatusOr<SamplingParams> ResolveSampling(const v1::SamplingOptions& options,
                                               const ModelFacts& facts, uint64_t fresh_seed) {
  CATENA_RETURN_IF_ERROR(CheckCounts(options));
  const SamplingParams params = WithDefaults(facts.generation, OverridesOf(options), fresh_seed);
  CATENA_RETURN_IF_ERROR(InFieldNames(Validate(params, facts.model.vocab_size)));
  return params;
}

absl::Status CheckModel(std::string_view model, const ModelFacts& facts) {
  if (model.empty() || model == facts.model.name) return absl::OkStatus();
  return WithReason(
      absl::NotFoundError(fmt::format("there is no model {} here; ask for {} or leave it out",
                                      Quoted(model), Quoted(facts.model.name))),
      ErrorReason::kUnknownModel);
}

absl::Status CheckText(const v1::GenerateRequest& request, const ModelFacts& facts) {
  CATENA_RETURN_IF_ERROR(WithField(CheckInputSize(request), InputField(request)));
  if (request.has_chat() && request.chat().messages().empty()) {
    return WithField(
        absl::InvalidArgumentError("the conversation has no messages; give one of the user's"),
        "chat.messages");
  }
  return CheckPromptText(request, facts, request.has_chat());
}

absl::Status CheckText(const v1::ScoreRequest& request, const ModelFacts& facts) {
  if (request.text().size() > limits::kMaxTextBytes) {
    return WithField(absl::InvalidArgumentError(
                         fmt::format("the text has {} bytes: at most {} are taken; shorten it",
                                     request.text().size(), limits::kMaxTextBytes)),
                     "text");
  }
  return CheckPromptText(request, facts, false);
}

absl::Status CheckText(const v1::TokenizeRequest& request, const ModelFacts& facts) {
  CATENA_RETURN_IF_ERROR(WithField(CheckInputSize(request), InputField(request)));
  return CheckTokenizer(facts, request.has_chat());
}

absl::Status CheckResume(const v1::GenerateRequest& request, const SamplingParams& params,
                         const ModelFacts& facts) {
  if (!request.has_resume()) return absl::OkStatus();
  const v1::Resume& resume = request.resume();
  if (!resume.numerics_id().empty() && resume.numerics_id() != facts.numerics_id) {
    return WithReason(absl::FailedPreconditionError(fmt::format(
                          "the text was begun with the arithmetic {} and here is {}: begin it anew",
                          Quoted(resume.numerics_id()), Quoted(facts.numerics_id))),
                      ErrorReason::kModelMismatch);
  }
  if (!request.sampling().has_seed()) {
    return WithField(absl::InvalidArgumentError(
                         "a request that is resumed needs the seed that its first Start gave"),
                     "sampling.seed");
  }
  if (resume.sequences_size() != params.n) {
    return WithField(
        absl::InvalidArgumentError(fmt::format("resume has {} sequences, and the request {}",
                                               resume.sequences_size(), params.n)),
        "resume.sequences");
  }
  for (const v1::SequenceOutput& output : resume.sequences()) {
    const auto& ids = output.token_ids();
    const bool known = std::all_of(
        ids.begin(), ids.end(), [&](int32_t id) { return 0 <= id && id < facts.model.vocab_size; });
    const int64_t most = std::min<int64_t>(params.max_tokens, facts.model.context_length);
    if (known && ids.size() <= most) continue;
    return WithField(absl::InvalidArgumentError(
                         "a sequence of resume has ids outside the vocabulary, or more than "
                         "max_tokens or the context"),
                     "resume.sequences");
  }
  return absl::OkStatus();
}

absl::Status CheckPromptIds(absl::Span<const int32_t> ids, const ModelFacts& facts) {
  absl::Status status = CheckPrompt(ids, facts.model.vocab_size, facts.model.context_length);
  if (std::ssize(ids) > facts.model.context_length) {
    status = WithReason(std::move(status), ErrorReason::kPromptTooLong);
  }
  return WithField(std::move(status), "prompt");
}

std::optional<LoopClock::time_point> LoopDeadline(std::chrono::system_clock::time_point deadline,
                                                  std::chrono::system_clock::time_point now,
                                                  LoopClock::time_point loop_now) {
  // Further off is as good as none, and adding it could overflow.
  constexpr std::chrono::hours kNever{24 * 365};
  if (deadline > now + kNever) return std::nullopt;
  return loop_now + std::chrono::duration_cast<LoopClock::duration>(deadline - now);
}

uint64_t DrawSeed() {
  std::random_device random;
  return ((uint64_t{random()} << 32) | random()) >> 11;
}

}  // namespace catena
