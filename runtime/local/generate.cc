#include "runtime/local/generate.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "model/rope_frequencies.h"
#include "model/sampler/sampling_limits.h"
#include "runtime/text/prompt_lookup.h"

namespace catena {
namespace {

static_assert(kMaxDrafts <= KvCache::kRollBack);

using Clock = std::chrono::steady_clock;

double Seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

struct Sequence {
  SequenceId id;
  int index;
  TokenHistory history;
  PromptLookup lookup;
  int64_t computed = 0;  // positions that the stages have run
  bool done = false;
  std::vector<int32_t> drafts = {};  // of the batch that runs,
  std::vector<int32_t> ids = {};     // behind the last token: its span
  size_t accepted = 0;
  bool rejected = false;  // rows from here on are of other ids
};

class Generation {
 public:
  Generation(const GenerateRequest& request, Engine* engine) : request_(request), engine_(engine) {}
  ~Generation() {
    if (request_.kept != nullptr && !sequences_.empty()) {
      const Sequence& s = sequences_[0];
      const std::vector<int32_t>& ids = s.history.ids();
      *request_.kept = {.id = s.id, .ids = {ids.begin(), ids.begin() + s.computed}};
      return;
    }
    for (const Sequence& s : sequences_) engine_->Close(s.id);
  }

  absl::Status Open() {
    const SamplingParams& params = request_.sampler->params();
    const auto prompt_tokens = static_cast<int64_t>(request_.prompt.size());
    const int rotary = ChooseRotaryTable(engine_->config(), prompt_tokens);
    for (int i = 0; i < params.n; ++i) {
      Sequence s{.id = 0,
                 .index = i,
                 .history = TokenHistory(prompt_tokens),
                 .lookup = PromptLookup(params.speculate)};
      s.history.Append(request_.prompt);
      if (request_.kept != nullptr) s.computed = TakeUp(rotary, &s.id);
      if (s.id == 0) {
        CATENA_ASSIGN_OR_RETURN(s.id, engine_->Open(rotary));
      }
      sequences_.push_back(std::move(s));
    }
    return absl::OkStatus();
  }

  int64_t reused() const { return reused_; }

  bool done() const {
    return std::all_of(sequences_.begin(), sequences_.end(), [](auto& s) { return s.done; });
  }

  // Runs one batch and takes the tokens that come of it.
  absl::Status Step() {
    for (Sequence& s : sequences_) CATENA_RETURN_IF_ERROR(SwitchRotary(&s));
    BuildBatch();
    CATENA_ASSIGN_OR_RETURN(const StageRows hidden, engine_->Forward(spans_));
    for (size_t i = 0; i < spans_.size(); ++i) {
      owners_[i]->computed += static_cast<int64_t>(spans_[i].ids.size());
    }
    for (size_t begin = 0; begin < wanted_.size();) {
      const size_t n = std::min<size_t>(engine_->options().max_logit_rows, wanted_.size() - begin);
      LogitSource& logits =
          engine_->LogitsToSample(hidden, absl::Span<const int32_t>(wanted_).subspan(begin, n));
      for (size_t i = 0; i < n; ++i) {
        Sequence* s = sampling_[begin + i];
        if (s->done || s->rejected) continue;
        CATENA_RETURN_IF_ERROR(TakeToken(logits, static_cast<int64_t>(i), s));
      }
      begin += n;
    }
    for (Sequence* s : owners_) CATENA_RETURN_IF_ERROR(ForgetRejected(s));
    return absl::OkStatus();
  }

  void AddTo(GenerateStats* stats) const {
    stats->completion_tokens = tokens_;
    stats->drafted_tokens = drafted_;
    stats->accepted_tokens = accepted_;
  }

 private:
  // Takes up the kept sequence where the prompt begins like it, up to where they part; the prompt's
  // last token is always computed. Where it cannot be (another rotary table, pages that slid out of
  // the window are needed again), it is closed. Returns the positions that are computed.
  int64_t TakeUp(int rotary, SequenceId* id) {
    KeptSequence& kept = *request_.kept;
    if (kept.id == 0) return 0;
    const std::vector<int32_t>& prompt = request_.prompt;
    int64_t same = 0;
    const auto most = static_cast<int64_t>(std::min(kept.ids.size(), prompt.size() - 1));
    while (same < most && kept.ids[same] == prompt[same]) ++same;
    const SequenceId old = std::exchange(kept.id, 0);
    if (engine_->rotary(old) != rotary || !engine_->Truncate(old, same).ok()) {
      engine_->Close(old);
      return 0;
    }
    *id = old;
    return reused_ = same;
  }

  // Where the last token took the text past what the short factors serve, all of it is computed
  // again with the long ones.
  absl::Status SwitchRotary(Sequence* s) {
    const int rotary = ChooseRotaryTable(engine_->config(), s->history.size());
    if (s->done || engine_->rotary(s->id) == rotary) return absl::OkStatus();
    s->computed = 0;
    return engine_->StartAnew(s->id, rotary);
  }

  // Decodes first, then prompts in chunks, up to the rows of a batch.
  void BuildBatch() {
    spans_.clear();
    owners_.clear();
    wanted_.clear();
    sampling_.clear();
    rows_ = 0;
    for (const bool decodes : {true, false}) {
      for (Sequence& s : sequences_) {
        const int64_t left = s.history.size() - s.computed;
        if (!s.done && (left == 1) == decodes) AddSpan(&s, left);
      }
    }
  }

  void AddSpan(Sequence* s, int64_t left) {
    const int64_t n = std::min<int64_t>(left, engine_->options().max_rows - rows_);
    if (n <= 0) return;
    absl::Span<const int32_t> ids =
        absl::MakeConstSpan(s->history.ids()).subspan(static_cast<size_t>(s->computed), n);
    Draft(s, left);
    if (!s->drafts.empty()) {
      s->ids.assign(ids.begin(), ids.end());
      s->ids.insert(s->ids.end(), s->drafts.begin(), s->drafts.end());
      ids = s->ids;
    }
    spans_.push_back({.sequence = s->id, .first_position = s->computed, .ids = ids});
    owners_.push_back(s);
    rows_ += static_cast<int64_t>(ids.size());
    if (n < left) return;
    for (int64_t row = rows_ - 1 - static_cast<int64_t>(s->drafts.size()); row < rows_; ++row) {
      wanted_.push_back(static_cast<int32_t>(row));
      sampling_.push_back(s);
    }
  }

  // Guesses what follows the last token, to be computed together with it.
  void Draft(Sequence* s, int64_t left) {
    s->drafts.clear();
    s->accepted = 0;
    s->rejected = false;
    const SamplingParams& params = request_.sampler->params();
    if (left > 1 || params.speculate == 0) return;
    // What a guess past the switch would be computed with is not what comes there.
    const int64_t last_of_short = RotarySwitch(engine_->config());
    const bool switches = engine_->rotary(s->id) == 0 && last_of_short > 0;
    const int64_t positions = switches ? last_of_short : engine_->options().max_positions;
    const int64_t room =
        std::min({engine_->options().max_rows - rows_ - left, positions - s->history.size(),
                  params.max_tokens - s->history.n_output() - 1});
    s->lookup.Propose(s->history.ids(), room, &s->drafts);
  }

  // After a batch: what was computed of guesses that were wrong.
  absl::Status ForgetRejected(Sequence* s) {
    if (s->drafts.empty()) return absl::OkStatus();
    s->lookup.Judge(static_cast<int64_t>(s->drafts.size()), static_cast<int64_t>(s->accepted));
    drafted_ += static_cast<int64_t>(s->drafts.size());
    accepted_ += static_cast<int64_t>(s->accepted);
    const int64_t right = std::min(s->computed, s->history.size() - 1);
    const bool open = !s->done || request_.kept != nullptr;
    if (!open || right == s->computed) return absl::OkStatus();
    s->computed = right;
    return engine_->Truncate(s->id, right);
  }

  absl::Status TakeToken(LogitSource& logits, int64_t row, Sequence* s) {
    const Sampler& sampler = *request_.sampler;
    TokenEvent event{.sequence = s->index, .token = {}, .finish = {}};
    CATENA_ASSIGN_OR_RETURN(event.token,
                            sampler.Sample(logits, row, s->history, s->index, &scratch_));
    s->history.Append(event.token.id);
    ++tokens_;
    if (s->accepted < s->drafts.size()) {
      s->rejected = s->drafts[s->accepted] != event.token.id;
      if (!s->rejected) ++s->accepted;
    }
    event.finish = FinishAfter(sampler.params(), s->history.n_output(), event.token.id);
    // The new token's position must exist before it can be computed.
    if (!event.finish && s->history.size() > engine_->options().max_positions) {
      event.finish = FinishReason::kLength;
    }
    const bool go_on = request_.on_token == nullptr || request_.on_token(event);
    s->done = event.finish.has_value() || !go_on;
    if (s->done && request_.kept == nullptr) engine_->Close(s->id);
    return absl::OkStatus();
  }

  const GenerateRequest& request_;
  Engine* engine_;
  std::vector<Sequence> sequences_;
  int64_t tokens_ = 0, drafted_ = 0, accepted_ = 0;
  int64_t reused_ = 0;
  SamplerScratch scratch_;
  // The batch being built.
  std::vector<StageSpan> spans_;
  std::vector<Sequence*> owners_;    // whose the spans are
  std::vector<int32_t> wanted_;      // rows that want logits
  std::vector<Sequence*> sampling_;  // whose they are
  int64_t rows_ = 0;
};

}  // namespace

absl::StatusOr<GenerateStats> Generate(const GenerateRequest& request, Engine* engine) {
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  if (prompt_tokens == 0) return absl::InvalidArgumentError("the prompt has no tokens; give some");
  if (prompt_tokens > engine->options().max_positions) {
    return absl::InvalidArgumentError(
        fmt::format("the prompt has {} tokens, the context {}; shorten the prompt", prompt_tokens,
                    engine->options().max_positions));
  }
  CATENA_CHECK(request.kept == nullptr || request.sampler->params().n == 1);
  GenerateStats stats{.prompt_tokens = prompt_tokens};
  const Clock::time_point start = Clock::now();
  Clock::time_point first = start;
  Generation generation(request, engine);
  CATENA_RETURN_IF_ERROR(generation.Open());
  stats.reused_tokens = generation.reused();
  while (!generation.done()) {
    if (request.cancel != nullptr && request.cancel->load()) {
      return absl::CancelledError("interrupted");
    }
    CATENA_RETURN_IF_ERROR(generation.Step());
    const bool had_tokens = stats.completion_tokens > 0;
    generation.AddTo(&stats);
    if (!had_tokens && stats.completion_tokens > 0) first = Clock::now();
  }
  stats.prefill_s = Seconds(start, first);
  stats.decode_s = Seconds(first, Clock::now());
  return stats;
}

}  // namespace catena
