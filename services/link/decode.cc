#include <cmath>

#include "runtime/chain/error_facts.h"
#include "runtime/chain/limits.h"
#include "services/common/edge_codec.h"
#include "services/common/sampling_codec.h"
#include "services/link/codec.h"

namespace catena {
namespace {

absl::Status CheckRange(std::string_view field, int64_t value, int64_t lowest, int64_t highest) {
  if (value >= lowest && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} is {}: it must be from {} to {}", field, value, lowest, highest));
}

absl::Status CheckPosition(std::string_view field, int64_t value) {
  return CheckRange(field, value, 0, limits::kMaxPositions);
}

template <typename Ids>
absl::Status CheckIds(const Ids& ids) {
  CATENA_RETURN_IF_ERROR(CheckRange("the number of ids", ids.size(), 0, limits::kMaxMessageIds));
  for (const int32_t id : ids) {
    if (id < 0) return absl::InvalidArgumentError(fmt::format("the token id {} is negative", id));
  }
  return absl::OkStatus();
}

// A log-probability may be -infinity, where logits differ by more than a float holds.
absl::Status CheckLogprob(float value) {
  if (value < std::numeric_limits<float>::infinity()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("the log-probability {} is none", value));
}

absl::Status Take(const v1::SequenceKey& in, SequenceKey* out) {
  *out = {in.gateway(), in.number()};
  if (out->gateway == 0) return absl::InvalidArgumentError("a sequence without its gateway");
  return absl::OkStatus();
}

constexpr int kMaxRotary = 1;  // there are at most two sets of rotary factors

template <typename In, typename M>
absl::Status TakeLife(const In& in, M* out) {
  out->life = {in.life().epoch(), in.life().round()};
  return Take(in.sequence(), &out->sequence);
}

// What both kinds of Open have.
template <typename In, typename M>
absl::Status TakeLengths(const In& in, M* out) {
  CATENA_RETURN_IF_ERROR(TakeLife(in, out));
  CATENA_RETURN_IF_ERROR(CheckRange("max_length", in.max_length(), 1, limits::kMaxPositions));
  CATENA_RETURN_IF_ERROR(CheckRange("prompt_length", in.prompt_length(), 1, in.max_length()));
  CATENA_RETURN_IF_ERROR(CheckRange("first_wanted", in.first_wanted(), 0, in.max_length()));
  out->prompt_length = in.prompt_length();
  out->max_length = in.max_length();
  out->first_wanted = in.first_wanted();
  return absl::OkStatus();
}

absl::Status Take(const v1::OpenStage& in, OpenStage* out) {
  CATENA_RETURN_IF_ERROR(TakeLengths(in, out));
  const auto address_bytes = static_cast<int64_t>(in.next().address().size());
  CATENA_RETURN_IF_ERROR(
      CheckRange("the size of next's address", address_bytes, 1, limits::kMaxAddressBytes));
  if (in.next().incarnation() == 0) return absl::InvalidArgumentError("next has no incarnation");
  CATENA_RETURN_IF_ERROR(CheckRange("window_rows", in.window_rows(), 1, limits::kMaxWindowRows));
  CATENA_RETURN_IF_ERROR(
      CheckRange("decode_groups", in.decode_groups(), 1, limits::kMaxOpenSequences));
  CATENA_RETURN_IF_ERROR(CheckRange("reserve", in.reserve(), 0, in.max_length()));
  CATENA_RETURN_IF_ERROR(CheckRange("trial_end", in.trial_end(), 0, in.max_length()));
  out->next = {in.next().address(), in.next().incarnation()};
  out->next_is_head = in.next_is_head();
  out->window_rows = in.window_rows();
  out->decode_groups = in.decode_groups();
  out->upstream = in.upstream();
  out->public_id = PublicId{in.public_id()};
  out->reserve = in.reserve();
  out->came = in.came();
  out->started = in.started();
  out->trial_end = in.trial_end();
  return absl::OkStatus();
}

absl::Status Take(const v1::OpenHead& in, OpenHead* out) {
  CATENA_RETURN_IF_ERROR(TakeLengths(in, out));
  CATENA_RETURN_IF_ERROR(CheckRange("the number of ids", in.ids_size(), 0, in.max_length()));
  CATENA_RETURN_IF_ERROR(CheckIds(in.ids()));
  CATENA_RETURN_IF_ERROR(CheckRange("first_token", in.first_token(), 0, in.max_length()));
  CATENA_RETURN_IF_ERROR(CheckRange("window_rows", in.window_rows(), 1, limits::kMaxWindowRows));
  CATENA_RETURN_IF_ERROR(CheckRange("score_top", in.score_top(), 0, limits::kMaxTopLogprobs));
  CATENA_RETURN_IF_ERROR(CheckRange("trial_end", in.trial_end(), 0, in.max_length()));
  out->ids.assign(in.ids().begin(), in.ids().end());
  out->first_token = in.first_token();
  out->window_rows = in.window_rows();
  out->score_top = in.score_top();
  out->upstream = in.upstream();
  out->public_id = PublicId{in.public_id()};
  out->sequence_index = in.sequence_index();
  out->trial_end = in.trial_end();
  CATENA_ASSIGN_OR_RETURN(out->params, DecodeSampling(in.sampling()));
  return absl::OkStatus();
}

absl::Status Take(const v1::Go& in, Go* out) {
  CATENA_RETURN_IF_ERROR(CheckPosition("length", in.length()));
  CATENA_RETURN_IF_ERROR(CheckPosition("next_length", in.next_length()));
  CATENA_RETURN_IF_ERROR(CheckPosition("replay_end", in.replay_end()));
  out->length = in.length();
  out->next_length = in.next_length();
  out->replay_end = in.replay_end();
  return TakeLife(in, out);
}

absl::Status Take(const v1::Close& in, Close* out) { return Take(in.sequence(), &out->sequence); }

absl::Status Take(const v1::Heartbeat& in, Heartbeat* out) {
  // All that are open are in one message: whatever it does not name is closed.
  CATENA_RETURN_IF_ERROR(
      CheckRange("the number of sequences", in.open_size(), 0, limits::kMaxHeartbeat));
  out->newest = in.newest();
  out->open.resize(in.open_size());
  for (int i = 0; i < in.open_size(); ++i) {
    CATENA_RETURN_IF_ERROR(TakeLife(in.open(i), &out->open[i]));
    CATENA_RETURN_IF_ERROR(CheckPosition("next_token", in.open(i).next_token()));
    out->open[i].next_token = in.open(i).next_token();
    out->open[i].tell = in.open(i).tell();
  }
  return absl::OkStatus();
}

absl::Status Take(const v1::Opened& in, Opened* out) {
  CATENA_RETURN_IF_ERROR(CheckPosition("length", in.length()));
  out->length = in.length();
  out->waits = in.waits();
  return TakeLife(in, out);
}

absl::Status Take(const v1::Refused& in, Refused* out) {
  constexpr auto kLastCode = static_cast<int>(absl::StatusCode::kUnauthenticated);
  CATENA_RETURN_IF_ERROR(CheckRange("code", in.code(), 1, kLastCode));
  const auto bytes = static_cast<int64_t>(in.message().size());
  CATENA_RETURN_IF_ERROR(CheckRange("the size of message", bytes, 0, limits::kMaxErrorBytes));
  out->status = absl::Status(static_cast<absl::StatusCode>(in.code()), in.message());
  out->draining = in.draining();
  if (const auto reason = ReasonByName(in.reason())) out->status = WithReason(out->status, *reason);
  return TakeLife(in, out);
}

absl::Status Take(const v1::Unknown& in, Unknown* out) { return TakeLife(in, out); }

absl::Status Take(const v1::Condition& in, Condition* out) {
  out->draining = in.draining();
  CATENA_RETURN_IF_ERROR(CheckRange("the number of edges", in.broken_size(), 0, limits::kMaxPeers));
  for (const v1::BrokenEdge& edge : in.broken()) {
    CATENA_ASSIGN_OR_RETURN(out->broken.emplace_back(), DecodeEdge(edge));
  }
  return absl::OkStatus();
}

absl::Status Take(const v1::Token& in, Token* out) {
  CATENA_RETURN_IF_ERROR(TakeLife(in, out));
  CATENA_RETURN_IF_ERROR(CheckPosition("position", in.position()));
  CATENA_RETURN_IF_ERROR(CheckRange("id", in.id(), -1, std::numeric_limits<int32_t>::max()));
  CATENA_RETURN_IF_ERROR(CheckLogprob(in.logprob()));
  CATENA_RETURN_IF_ERROR(
      CheckRange("the number of alternatives", in.top_size(), 0, limits::kMaxTopLogprobs));
  out->position = in.position();
  out->token = {in.id(), in.logprob(), {}};
  for (const v1::IdLogprob& top : in.top()) {
    CATENA_RETURN_IF_ERROR(CheckRange("id", top.id(), 0, std::numeric_limits<int32_t>::max()));
    CATENA_RETURN_IF_ERROR(CheckLogprob(top.logprob()));
    out->token.top.push_back({top.id(), top.logprob()});
  }
  return absl::OkStatus();
}

absl::Status Take(const v1::Tokens& in, Tokens* out) {
  CATENA_RETURN_IF_ERROR(
      CheckRange("the number of tokens", in.tokens_size(), 1, limits::kMaxMessageSteps));
  out->tokens.resize(in.tokens_size());
  for (int i = 0; i < in.tokens_size(); ++i) {
    CATENA_RETURN_IF_ERROR(Take(in.tokens(i), &out->tokens[i]));
  }
  return absl::OkStatus();
}

// SentLengths and Lengths.
template <typename In, typename M>
absl::Status TakeAllLengths(const In& in, M* out) {
  CATENA_RETURN_IF_ERROR(
      CheckRange("the number of lengths", in.lengths_size(), 0, limits::kMaxOpenSequences));
  out->lengths.resize(in.lengths_size());
  for (int i = 0; i < in.lengths_size(); ++i) {
    CATENA_RETURN_IF_ERROR(TakeLife(in.lengths(i), &out->lengths[i]));
    CATENA_RETURN_IF_ERROR(CheckPosition("length", in.lengths(i).length()));
    out->lengths[i].length = in.lengths(i).length();
  }
  return absl::OkStatus();
}

absl::Status Take(const v1::NeedFrom& in, NeedFrom* out) {
  CATENA_RETURN_IF_ERROR(CheckPosition("position", in.position()));
  out->number = in.number();
  out->position = in.position();
  return TakeLife(in, out);
}

absl::Status Take(const v1::Step& in, Step* out) {
  CATENA_RETURN_IF_ERROR(TakeLife(in, out));
  CATENA_RETURN_IF_ERROR(CheckPosition("position", in.position()));
  CATENA_RETURN_IF_ERROR(
      CheckRange("the number of ids", in.ids_size(), 1, limits::kMaxPositions - in.position()));
  CATENA_RETURN_IF_ERROR(CheckIds(in.ids()));
  CATENA_RETURN_IF_ERROR(
      CheckRange("the number of row hashes", in.row_hashes_size(), 0, in.ids_size()));
  CATENA_RETURN_IF_ERROR(CheckPosition("round_begin", in.round_begin()));
  CATENA_RETURN_IF_ERROR(CheckRange("rotary", in.rotary(), 0, kMaxRotary));
  out->round_begin = in.round_begin();
  out->rotary = in.rotary();
  out->position = in.position();
  out->ids.assign(in.ids().begin(), in.ids().end());
  out->row_hashes.assign(in.row_hashes().begin(), in.row_hashes().end());
  return absl::OkStatus();
}

// The shape of the rows: as many as the steps have hashes, of this process's own format.
absl::Status CheckRows(const v1::Steps& in, int64_t rows, const RowFormat& format) {
  CATENA_RETURN_IF_ERROR(CheckRange("the number of rows", rows, 0, limits::kMaxMessageRows));
  CATENA_RETURN_IF_ERROR(CheckRange("row_count", in.row_count(), rows, rows));
  const auto bytes = static_cast<int64_t>(in.rows().size());
  CATENA_RETURN_IF_ERROR(
      CheckRange("the size of rows", bytes, rows * format.row_bytes, rows * format.row_bytes));
  if (rows == 0) return absl::OkStatus();
  CATENA_RETURN_IF_ERROR(
      CheckRange("row_bytes", in.row_bytes(), format.row_bytes, format.row_bytes));
  const auto dtype = format.dtype == DType::kF32 ? v1::ROW_DTYPE_F32 : v1::ROW_DTYPE_BF16;
  if (in.row_dtype() == dtype && format.row_bytes > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("rows of dtype {} came: this process takes {}", static_cast<int>(in.row_dtype()),
                  format.row_bytes == 0 ? "none" : Info(format.dtype).name));
}

absl::Status TakeSteps(const RowFormat& format, v1::Steps* in, Steps* out) {
  CATENA_RETURN_IF_ERROR(
      CheckRange("the number of steps", in->steps_size(), 1, limits::kMaxMessageSteps));
  out->batch = in->batch();
  out->steps.resize(in->steps_size());
  int64_t ids = 0, rows = 0;
  for (int i = 0; i < in->steps_size(); ++i) {
    CATENA_RETURN_IF_ERROR(Take(in->steps(i), &out->steps[i]));
    ids += in->steps(i).ids_size();
    rows += out->steps[i].rows();
  }
  CATENA_RETURN_IF_ERROR(CheckRange("the number of ids", ids, 1, limits::kMaxMessageIds));
  CATENA_RETURN_IF_ERROR(CheckRows(*in, rows, format));
  if (rows > 0) out->rows = std::make_shared<const std::string>(std::move(*in->mutable_rows()));
  return absl::OkStatus();
}

// `name` is for the error.
template <typename M, typename In>
absl::StatusOr<ChainMessage> Taken(std::string_view name, const In& in) {
  M message;
  const absl::Status status = [&] {
    if constexpr (std::is_same_v<M, SentLengths> || std::is_same_v<M, Lengths>) {
      return TakeAllLengths(in, &message);
    } else {
      return Take(in, &message);
    }
  }();
  if (!status.ok()) return Annotate(status, name);
  return message;
}

}  // namespace

int MaxFrameBytes(const RowFormat& format) {
  constexpr int64_t kIdBytes = 5, kRest = 1 << 20;  // a varint; headers, hashes, parameters
  return static_cast<int>(limits::kMaxMessageRows * format.row_bytes +
                          limits::kMaxMessageIds * kIdBytes + kRest);
}

absl::StatusOr<ChainMessage> Decode(const RowFormat& format, v1::Frame* frame) {
  switch (frame->kind_case()) {
    case v1::Frame::kOpenStage:
      return Taken<OpenStage>("OpenStage", frame->open_stage());
    case v1::Frame::kOpenHead:
      return Taken<OpenHead>("OpenHead", frame->open_head());
    case v1::Frame::kClose:
      return Taken<Close>("Close", frame->close());
    case v1::Frame::kHeartbeat:
      return Taken<Heartbeat>("Heartbeat", frame->heartbeat());
    case v1::Frame::kOpened:
      return Taken<Opened>("Opened", frame->opened());
    case v1::Frame::kRefused:
      return Taken<Refused>("Refused", frame->refused());
    case v1::Frame::kUnknown:
      return Taken<Unknown>("Unknown", frame->unknown());
    case v1::Frame::kCondition:
      return Taken<Condition>("Condition", frame->condition());
    case v1::Frame::kGo:
      return Taken<Go>("Go", frame->go());
    case v1::Frame::kTokens:
      return Taken<Tokens>("Tokens", frame->tokens());
    case v1::Frame::kSteps: {
      Steps steps;
      const absl::Status status = TakeSteps(format, frame->mutable_steps(), &steps);
      if (!status.ok()) return Annotate(status, "Steps");
      return steps;
    }
    case v1::Frame::kSentLengths:
      return Taken<SentLengths>("SentLengths", frame->sent_lengths());
    case v1::Frame::kLengths:
      return Taken<Lengths>("Lengths", frame->lengths());
    case v1::Frame::kNeedFrom:
      return Taken<NeedFrom>("NeedFrom", frame->need_from());
    case v1::Frame::kHello:
    case v1::Frame::kWelcome:
      return absl::InvalidArgumentError("a second handshake on one stream");
    case v1::Frame::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("a frame of no kind that this release knows");
}

}  // namespace catena
