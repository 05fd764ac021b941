#include "services/cli/local_source.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "runtime/local/score.h"
#include "runtime/text/prompt.h"
#include "runtime/text/text_stream.h"
#include "services/cli/interrupt.h"

namespace catena::cli {
namespace {

// What is set aside for a conversation grows with its context, and models claim up to millions.
constexpr int64_t kDefaultContext = 32768;

// 53 bits, so that the seed survives any JSON reader.
uint64_t DrawSeed() {
  std::random_device random;
  return ((uint64_t{random()} << 32) | random()) >> 11;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TextSource>> LocalSource::Open(const ModelOptions& model,
                                                              const RunOptions& run,
                                                              int64_t chat_context) {
  std::unique_ptr<LocalSource> source(new LocalSource(model, run, chat_context));
  CATENA_ASSIGN_OR_RETURN(source->model_, OpenModel(model));
  return source;
}

absl::Status LocalSource::Load(int64_t positions, int64_t sequences) {
  CATENA_ASSIGN_OR_RETURN(engine_, LoadEngine(model_, run_, positions, sequences));
  load_s_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - opened_).count();
  return absl::OkStatus();
}

absl::Status LocalSource::PrepareChat(const SamplingOverrides& sampling) {
  CATENA_RETURN_IF_ERROR(model_.NeedTokenizer().status());
  CATENA_ASSIGN_OR_RETURN(chat_, OpenChatTemplate(model_, options_));
  CATENA_RETURN_IF_ERROR(MakeSampler(sampling).status());
  kept_.emplace();
  const int64_t wanted = chat_context_ > 0 ? chat_context_ : kDefaultContext;
  return Load(std::min<int64_t>(model_.config().context_length, wanted), 1);
}

absl::StatusOr<std::vector<int32_t>> LocalSource::Encode(const TextPrompt& prompt) {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) return *ids;
  CATENA_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, model_.NeedTokenizer());
  if (const auto* text = std::get_if<std::string>(&prompt)) return EncodePrompt(*tokenizer, *text);
  if (!chat_) {
    CATENA_ASSIGN_OR_RETURN(chat_, OpenChatTemplate(model_, options_));
  }
  CATENA_ASSIGN_OR_RETURN(EncodedChat encoded,
                          EncodeChat(*tokenizer, *chat_, std::get<ChatPrompt>(prompt)));
  return std::move(encoded.ids);
}

absl::StatusOr<Sampler> LocalSource::MakeSampler(const SamplingOverrides& sampling) const {
  return Sampler::Make(WithDefaults(model_.generation, sampling, DrawSeed()),
                       model_.config().vocab_size);
}

absl::Status LocalSource::Check(const std::vector<int32_t>& ids) const {
  if (kept_ && static_cast<int64_t>(ids.size()) > engine_->options().max_positions) {
    return absl::ResourceExhaustedError(
        fmt::format("the conversation has {} tokens, more than its context of {}; start again, or "
                    "give a larger --context",
                    ids.size(), engine_->options().max_positions));
  }
  return CheckPrompt(ids, model_.config().vocab_size, model_.config().context_length);
}

TokenTexts LocalSource::Texts(const SampledToken& token) const {
  auto text = [&](int32_t id, float logprob) {
    return TokenText{id, model_.tokenizer == nullptr ? "" : model_.tokenizer->Piece(id), logprob};
  };
  TokenTexts out{text(token.id, token.logprob), {}};
  for (const TokenLogprob& t : token.top) out.top.push_back(text(t.id, t.logprob));
  return out;
}

absl::StatusOr<TextStats> LocalSource::Generate(const TextPrompt& prompt,
                                                const SamplingOverrides& sampling,
                                                const OnDelta& on_delta) {
  CATENA_ASSIGN_OR_RETURN(const Sampler sampler, MakeSampler(sampling));
  const SamplingParams& params = sampler.params();
  CATENA_ASSIGN_OR_RETURN(std::vector<int32_t> ids, Encode(prompt));
  CATENA_RETURN_IF_ERROR(Check(ids));
  if (engine_ == nullptr) {
    CATENA_RETURN_IF_ERROR(Load(
        PositionsNeeded(static_cast<int64_t>(ids.size()), params, model_.config().context_length),
        params.n));
  }
  std::vector<TextStream> streams(static_cast<size_t>(params.n),
                                  TextStream(model_.tokenizer.get(), params));
  absl::Status taken;
  auto take = [&](const TokenEvent& event) {
    TextStream& stream = streams[static_cast<size_t>(event.sequence)];
    TextDelta delta{.sequence = static_cast<size_t>(event.sequence),
                    .text = stream.Push(event.token.id),
                    .ids = {event.token.id},
                    .logprobs = {},
                    .finish = event.finish,
                    .sequence_id = ""};
    if (event.finish) delta.text += stream.Flush();
    if (stream.stopped()) delta.finish = FinishReason::kStop;
    if (params.logprobs) delta.logprobs.push_back(Texts(event.token));
    taken = on_delta(delta);
    return taken.ok() && !stream.stopped();
  };
  const catena::GenerateRequest request{.prompt = std::move(ids),
                                        .sampler = &sampler,
                                        .on_token = take,
                                        .cancel = &InterruptFlag(),
                                        .kept = kept_ ? &*kept_ : nullptr};
  const absl::StatusOr<GenerateStats> stats = catena::Generate(request, engine_.get());
  CATENA_RETURN_IF_ERROR(taken);
  if (absl::IsCancelled(stats.status())) {  // what was held back is shown too
    for (size_t i = 0; i < streams.size(); ++i) {
      TextDelta rest;
      rest.sequence = i;
      rest.text = streams[i].Flush();
      CATENA_RETURN_IF_ERROR(on_delta(rest));
    }
  }
  CATENA_RETURN_IF_ERROR(stats.status());
  return TextStats{*stats, load_s_, params.seed};
}

absl::Status LocalSource::Score(const TextPrompt& prompt, int top, const OnPosition& on_position) {
  CATENA_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, Encode(prompt));
  CATENA_RETURN_IF_ERROR(Check(ids));
  CATENA_RETURN_IF_ERROR(Load(static_cast<int64_t>(ids.size()), 1));
  auto piece = [&](int32_t id) -> std::optional<std::string> {
    if (model_.tokenizer == nullptr) return std::nullopt;
    return model_.tokenizer->Piece(id);
  };
  LogSoftmax softmax;
  std::optional<double> seen;  // the probability that the position before gave this one
  return ForEachPosition(
      ids, engine_.get(), [&](int64_t p, absl::Span<const float> logits) -> absl::Status {
        if (InterruptFlag().load()) return absl::CancelledError("interrupted");
        CATENA_RETURN_IF_ERROR(softmax.Take(logits, p + 1));
        // By way of a float, in which log-probabilities cross a cluster: the same digits come out.
        auto probability = [&](float logprob) { return std::exp(double{logprob}); };
        ScoredPosition out{
            .position = p, .id = ids[p], .piece = piece(ids[p]), .probability = seen, .next = {}};
        for (const auto& [id, logprob] : softmax.Top(static_cast<size_t>(top))) {
          out.next.push_back({id, piece(id), probability(logprob)});
        }
        if (p + 1 < static_cast<int64_t>(ids.size())) {
          seen = probability(static_cast<float>(softmax.logprob(ids[p + 1])));
        }
        return on_position(out);
      });
}

}  // namespace catena::cli
