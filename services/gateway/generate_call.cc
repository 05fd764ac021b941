#include "services/gateway/generate_call.h"

#include <algorithm>
#include <utility>

#include "services/common/request_limits.h"
#include "services/gateway/request.h"

namespace catena {
namespace {

// What a token with its log-probabilities takes here and, about, in a message.
size_t TokenBytes(const SampledToken& token) { return 16 + 24 * token.top.size(); }

}  // namespace

GenerateCall::GenerateCall(Front* front, std::chrono::system_clock::time_point deadline)
    : PublicCall(&front->house), front_(*front), deadline_(deadline), buffered_(&front->buffered) {}

absl::Status GenerateCall::Begin(v1::GenerateRequest request) {
  CATENA_ASSIGN_OR_RETURN(facts_, front_.facts->LastFacts());
  CATENA_RETURN_IF_ERROR(CheckModel(request.model(), *facts_));
  CATENA_RETURN_IF_ERROR(CheckText(request, *facts_));
  CATENA_ASSIGN_OR_RETURN(params_, ResolveSampling(request.sampling(), *facts_, DrawSeed()));
  CATENA_RETURN_IF_ERROR(CheckResume(request, params_, *facts_));
  resume_.Swap(request.mutable_resume());
  if (request.has_tokens()) {
    OnPrompt({request.tokens().ids().begin(), request.tokens().ids().end()});
    return absl::OkStatus();
  }
  v1::EncodeRequest to_encode;
  if (request.has_chat()) {
    to_encode.mutable_chat()->Swap(request.mutable_chat());
  } else {
    to_encode.set_text(std::move(*request.mutable_text()));
    to_encode.set_add_special_tokens(true);
  }
  encoding_ = front_.tokenizer->Encode(
      std::move(to_encode), deadline_, strand(),
      [self = Self<GenerateCall>()](absl::StatusOr<v1::EncodeResponse> encoded) {
        self->encoding_ = nullptr;
        if (!encoded.ok()) return self->Fail(encoded.status());
        self->OnPrompt({encoded->ids().begin(), encoded->ids().end()});
      });
  return absl::OkStatus();
}

void GenerateCall::OnPrompt(std::vector<int32_t> ids) {
  if (over()) return;
  if (absl::Status status = CheckPromptIds(ids, *facts_); !status.ok()) return Fail(status);
  ReleaseRequest();
  prompt_tokens_ = static_cast<int64_t>(ids.size());
  record()->Prompt(prompt_tokens_);
  sequences_.resize(static_cast<size_t>(params_.n));
  for (uint32_t i = 0; i < sequences_.size(); ++i) {
    Open(i);
    LoopRequest request{
        .prompt = ids,
        .params = params_,
        .sequence_index = i,
        .deadline = LoopDeadline(deadline_, std::chrono::system_clock::now(), LoopClock::now())};
    if (i < static_cast<uint32_t>(resume_.sequences_size())) {
      const auto& ids = resume_.sequences(static_cast<int>(i)).token_ids();
      request.output.assign(ids.begin(), ids.end());
      Resume(sequences_[i], request.output);
    }
    auto inbox = std::make_shared<LoopInbox>(
        strand(),
        [self = Self<GenerateCall>(), i](LoopInbox::Events events) {
          self->OnEvents(i, std::move(events));
        },
        TokenClock{.metrics = record()->metrics(), .last = record()->came()});
    sequences_[i].ticket = front_.loop->Submit(std::move(request), std::move(inbox));
  }
  resume_.Clear();
}

void GenerateCall::Open(uint32_t index) {
  if (!facts_->has_tokenizer) return;
  v1::DecodeRules rules;
  rules.mutable_stop()->Assign(params_.stop.begin(), params_.stop.end());
  rules.set_min_tokens(params_.min_tokens);
  // Weak: the stream is the call's.
  std::weak_ptr<GenerateCall> weak = Self<GenerateCall>();
  sequences_[index].decode = front_.tokenizer->OpenDecode(
      std::move(rules), strand(), [weak, index](absl::StatusOr<DecodeStream::Progress> progress) {
        if (const auto self = weak.lock()) self->OnProgress(index, std::move(progress));
      });
}

void GenerateCall::OnEvents(uint32_t index, LoopInbox::Events events) {
  Sequence& s = sequences_[index];
  if (events.end) s.end = std::move(events.end);
  if (over()) return;
  if (events.started) {
    s.id = events.started;
    record()->SequenceStarted(*s.id);
  }
  if (!s.stopped) TakeTokens(s, std::move(events.tokens));
  if (s.end && !s.stopped) {
    if (!s.end->status.ok()) return Fail(s.end->status);
    EndText(s);
  }
  CheckBuffered();
  Pump();
}

// All tokens have come.
void GenerateCall::EndText(Sequence& s) {
  if (s.resumed > 0) return;  // it ends when those are text
  if (s.decode) {
    s.decode->End();
  } else {
    s.text_ended = true;
  }
}

void GenerateCall::Resume(Sequence& s, const std::vector<int32_t>& output) {
  s.completion_tokens = std::ssize(output);
  if (!s.decode || output.empty()) return;
  s.resumed = std::ssize(output);
  s.decode->Push(output);
}

void GenerateCall::DropResumed(Sequence& s, DecodeStream::Progress* progress) {
  if (s.resumed == 0) return;
  s.resumed -= progress->ids_used;
  progress->ids_used = 0;
  progress->text.clear();
  if (s.resumed > 0 || progress->ended) return;
  TakeTokens(s, std::exchange(s.held, {}));
  if (s.end) EndText(s);
}

void GenerateCall::TakeTokens(Sequence& s, std::vector<SampledToken> tokens) {
  if (tokens.empty()) return;
  if (s.resumed > 0) {
    s.held.insert(s.held.end(), std::make_move_iterator(tokens.begin()),
                  std::make_move_iterator(tokens.end()));
    return;
  }
  std::vector<int32_t> ids;
  for (SampledToken& token : tokens) {
    ids.push_back(token.id);
    buffered_.Add(TokenBytes(token));
    s.waiting.push_back(std::move(token));
  }
  if (s.decode) return s.decode->Push(ids);
  AddReady(s, "", static_cast<int64_t>(ids.size()));
}

void GenerateCall::OnProgress(uint32_t index, absl::StatusOr<DecodeStream::Progress> progress) {
  if (over()) return;
  if (!progress.ok()) return Fail(progress.status());
  Sequence& s = sequences_[index];
  DropResumed(s, &*progress);
  buffered_.Add(progress->text.size());
  AddReady(s, std::move(progress->text), progress->ids_used);
  s.text_ended = progress->ended;
  if (progress->stopped) {  // what the loop has made past it, or still makes, is nobody's
    s.stopped = true;
    for (const SampledToken& token : s.waiting) buffered_.Remove(TokenBytes(token));
    s.waiting.clear();
    if (!s.end) front_.loop->Cancel(*s.ticket);
  }
  CheckBuffered();
  Pump();
}

void GenerateCall::AddReady(Sequence& s, std::string text, int64_t n_tokens) {
  if (text.empty() && n_tokens == 0) return;
  record()->Output(n_tokens);
  Piece piece{.text = std::move(text), .tokens = {}, .bytes = 0};
  piece.bytes = piece.text.size();
  for (; n_tokens > 0; --n_tokens) {
    piece.bytes += TokenBytes(s.waiting.front());
    piece.tokens.push_back(std::move(s.waiting.front()));
    s.waiting.pop_front();
    ++s.completion_tokens;
  }
  s.ready.push_back(std::move(piece));
}

void GenerateCall::CheckBuffered() {
  if (over()) return;
  if (absl::Status status = CheckOutput(front_, buffered_); !status.ok()) FailNow(status);
}

bool GenerateCall::HasNews(const Sequence& s) const {
  return (s.id && !s.start_sent) || !s.ready.empty() || (s.text_ended && s.end && !s.finish_sent);
}

bool GenerateCall::HavePieces(const Piece& piece) {
  if (!params_.logprobs || !facts_->has_tokenizer) return true;
  std::vector<int32_t> ids;
  for (const SampledToken& token : piece.tokens) {
    ids.push_back(token.id);
    for (const TokenLogprob& t : token.top) ids.push_back(t.id);
  }
  std::vector<int32_t> missing = front_.tokenizer->MissingPieces(ids);
  if (missing.empty()) return true;
  if (fetching_ || over()) return false;
  missing.resize(std::min(missing.size(), static_cast<size_t>(limits::kMaxPieceIds)));
  fetching_ = front_.tokenizer->FetchPieces(std::move(missing), deadline_, strand(),
                                            [self = Self<GenerateCall>()](absl::Status s) {
                                              self->fetching_ = nullptr;
                                              if (!s.ok()) return self->Fail(s);
                                              self->Pump();
                                            });
  return false;
}

bool GenerateCall::Compose(v1::GenerateResponse* response) {
  const auto n = static_cast<uint32_t>(sequences_.size());
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t index = (turn_ + i) % n;
    const Sequence& s = sequences_[index];
    if (!HasNews(s)) continue;
    const bool start = s.id && !s.start_sent;
    if (!start && !s.ready.empty() && !HavePieces(s.ready.front())) continue;
    ComposeOf(index, response);
    turn_ = index + 1;
    return true;
  }
  return false;
}

void GenerateCall::ComposeOf(uint32_t index, v1::GenerateResponse* response) {
  Sequence& s = sequences_[index];
  response->set_index(index);
  if (s.id && !std::exchange(s.start_sent, true)) {
    v1::Start* start = response->mutable_start();
    start->set_seed(params_.seed);
    start->set_prompt_tokens(prompt_tokens_);
    start->set_sequence_id(ToString(*s.id));
    start->set_numerics_id(facts_->numerics_id);
  }
  size_t bytes = 0;
  while (!s.ready.empty() && bytes < kMaxResponseBytes && HavePieces(s.ready.front())) {
    const Piece& piece = s.ready.front();
    response->mutable_text()->append(piece.text);
    AddTokens(piece, response);
    bytes += piece.bytes;
    buffered_.Remove(piece.bytes);
    s.ready.pop_front();
  }
  if (!s.ready.empty() || !s.text_ended || !s.end || s.finish_sent) return;
  s.finish_sent = true;
  record()->SequenceEnded(ReasonOf(s) == v1::FINISH_REASON_STOP ? "stop" : "length", s.end->stats);
  v1::Finish* finish = response->mutable_finish();
  finish->set_reason(ReasonOf(s));
  finish->set_completion_tokens(s.completion_tokens);
  finish->set_queue_ns(s.end->stats.queue.count());
  finish->set_prefill_ns(s.end->stats.prefill.count());
  finish->set_decode_ns(s.end->stats.decode.count());
  finish->set_drafted_tokens(s.end->stats.drafted);
  finish->set_accepted_tokens(s.end->stats.accepted);
  finish->set_moves(s.end->stats.moves.count);
  finish->set_replayed_tokens(s.end->stats.moves.replayed);
  finish->set_paused_ns(s.end->stats.moves.paused.count());
  finish->set_noticed_ns(s.end->stats.moves.noticed.count());
}

void GenerateCall::AddTokens(const Piece& piece, v1::GenerateResponse* response) const {
  auto fill = [&](int32_t id, float logprob, v1::TokenLogprob* out) {
    out->set_id(id);
    out->set_piece(front_.tokenizer->Piece(id));
    out->set_logprob(logprob);
  };
  for (const SampledToken& token : piece.tokens) {
    response->add_token_ids(token.id);
    if (!params_.logprobs) continue;
    v1::TokenLogprobs* out = response->add_logprobs();
    fill(token.id, token.logprob, out->mutable_chosen());
    for (const TokenLogprob& t : token.top) fill(t.id, t.logprob, out->add_top());
  }
}

v1::FinishReason GenerateCall::ReasonOf(const Sequence& s) const {
  const bool stop = s.stopped || s.end->reason == FinishReason::kStop;
  return stop ? v1::FINISH_REASON_STOP : v1::FINISH_REASON_LENGTH;
}

bool GenerateCall::Complete() const {
  return !sequences_.empty() && std::all_of(sequences_.begin(), sequences_.end(),
                                            [](const Sequence& s) { return s.finish_sent; });
}

void GenerateCall::Abandon() {
  if (encoding_) std::exchange(encoding_, nullptr)();
  if (fetching_) std::exchange(fetching_, nullptr)();
  for (Sequence& s : sequences_) {
    if (s.decode) s.decode->Cancel();
    s.waiting.clear();
    if (!s.finish_sent) record()->SequenceEnded("error", s.end ? s.end->stats : LoopStats());
    if (s.ticket && !s.end) front_.loop->Cancel(*s.ticket);
  }
}

}  // namespace catena
