#include "services/gateway/score_call.h"

#include <algorithm>
#include <utility>

#include "services/common/request_limits.h"
#include "services/gateway/request.h"

namespace catena {
namespace {

// Positions whose pieces are asked for together.
constexpr size_t kFetchPositions = 512;

size_t ScoreBytes(const SampledToken& score) { return 32 + 24 * score.top.size(); }

}  // namespace

ScoreCall::ScoreCall(Front* front, std::chrono::system_clock::time_point deadline)
    : PublicCall(&front->house), front_(*front), deadline_(deadline), buffered_(&front->buffered) {}

absl::Status ScoreCall::Begin(v1::ScoreRequest request) {
  CATENA_ASSIGN_OR_RETURN(facts_, front_.facts->LastFacts());
  CATENA_RETURN_IF_ERROR(CheckModel(request.model(), *facts_));
  CATENA_RETURN_IF_ERROR(CheckText(request, *facts_));
  top_ = request.top();
  if (top_ < 0 || top_ > limits::kMaxTopLogprobs) {
    return WithField(absl::InvalidArgumentError(fmt::format("top is {}: it must be from 0 to {}",
                                                            top_, limits::kMaxTopLogprobs)),
                     "top");
  }
  if (request.has_tokens()) {
    OnPrompt({request.tokens().ids().begin(), request.tokens().ids().end()});
    return absl::OkStatus();
  }
  v1::EncodeRequest to_encode;
  to_encode.set_text(std::move(*request.mutable_text()));
  to_encode.set_add_special_tokens(true);
  encoding_ = front_.tokenizer->Encode(
      std::move(to_encode), deadline_, strand(),
      [self = Self<ScoreCall>()](absl::StatusOr<v1::EncodeResponse> encoded) {
        self->encoding_ = nullptr;
        if (!encoded.ok()) return self->Fail(encoded.status());
        self->OnPrompt({encoded->ids().begin(), encoded->ids().end()});
      });
  return absl::OkStatus();
}

void ScoreCall::OnPrompt(std::vector<int32_t> ids) {
  if (over()) return;
  if (absl::Status status = CheckPromptIds(ids, *facts_); !status.ok()) return Fail(status);
  ReleaseRequest();
  prompt_ = std::move(ids);
  record()->Prompt(std::ssize(prompt_));
  LoopRequest request{
      .prompt = prompt_,
      .params = {},
      .score = true,
      .score_top = std::max(1, top_),  // 0 would sample
      .deadline = LoopDeadline(deadline_, std::chrono::system_clock::now(), LoopClock::now())};
  auto take = [self = Self<ScoreCall>()](LoopInbox::Events events) {
    self->OnEvents(std::move(events));
  };
  ticket_ = front_.loop->Submit(std::move(request),
                                std::make_shared<LoopInbox>(strand(), std::move(take)));
}

void ScoreCall::OnEvents(LoopInbox::Events events) {
  if (events.end) ended_ = true;
  if (over()) return;
  if (events.started) record()->SequenceStarted(*events.started);
  for (SampledToken& score : events.tokens) {
    buffered_.Add(ScoreBytes(score));
    scores_.push_back(std::move(score));
  }
  if (sent_ + scores_.size() > prompt_.size()) {
    return FailNow(absl::InternalError("the model scored more positions than there are"));
  }
  if (absl::Status status = CheckOutput(front_, buffered_); !status.ok()) return FailNow(status);
  if (ended_ && !events.end->status.ok()) return Fail(events.end->status);
  if (ended_ && sent_ + scores_.size() < prompt_.size()) {
    return Fail(absl::InternalError("the model did not score all positions"));
  }
  Pump();
}

bool ScoreCall::HavePieces(const SampledToken& score) {
  if (!facts_->has_tokenizer) return true;
  auto add = [](const SampledToken& s, std::vector<int32_t>* ids) {
    for (const TokenLogprob& t : s.top) ids->push_back(t.id);
  };
  std::vector<int32_t> ids{prompt_[sent_]};
  add(score, &ids);
  if (front_.tokenizer->MissingPieces(ids).empty()) return true;
  if (fetching_ || over()) return false;
  const size_t n = std::min(scores_.size(), kFetchPositions);
  for (size_t i = 1; i < n; ++i) {
    ids.push_back(prompt_[sent_ + i]);
    add(scores_[i], &ids);
  }
  std::vector<int32_t> missing = front_.tokenizer->MissingPieces(ids);
  missing.resize(std::min(missing.size(), static_cast<size_t>(limits::kMaxPieceIds)));
  fetching_ = front_.tokenizer->FetchPieces(std::move(missing), deadline_, strand(),
                                            [self = Self<ScoreCall>()](absl::Status status) {
                                              self->fetching_ = nullptr;
                                              if (!status.ok()) return self->Fail(status);
                                              self->Pump();
                                            });
  return false;
}

bool ScoreCall::Compose(v1::ScoreResponse* response) {
  if (scores_.empty() || !HavePieces(scores_.front())) return false;
  SampledToken score = std::move(scores_.front());
  scores_.pop_front();
  buffered_.Remove(ScoreBytes(score));
  score.top.resize(std::min(score.top.size(), static_cast<size_t>(top_)));
  auto fill = [&](int32_t id, float logprob, v1::TokenLogprob* out) {
    out->set_id(id);
    out->set_piece(front_.tokenizer->Piece(id));
    out->set_logprob(logprob);
  };
  response->set_position(static_cast<int64_t>(sent_));
  fill(prompt_[sent_], expected_, response->mutable_token());
  response->set_has_logprob(sent_ > 0);
  for (const TokenLogprob& t : score.top) fill(t.id, t.logprob, response->add_next());
  expected_ = score.logprob;
  ++sent_;
  return true;
}

bool ScoreCall::Complete() const { return ended_ && sent_ == prompt_.size(); }

void ScoreCall::Abandon() {
  if (encoding_) std::exchange(encoding_, nullptr)();
  if (fetching_) std::exchange(fetching_, nullptr)();
  if (ticket_ && !ended_) front_.loop->Cancel(*ticket_);
}

}  // namespace catena
