// Messages cross the wire whole, and nothing that is out of range comes in.
#include "services/link/codec.h"

#include <functional>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/chain/limits.h"
#include "tests/runtime/chain/sample_messages.h"

namespace catena {
namespace {

using ::testing::HasSubstr;

constexpr RowFormat kFormat{DType::kBF16, kSampleRowBytes};

v1::Frame Encoded(const ChainMessage& message) {
  v1::Frame frame;
  Encode(message, kFormat, &frame);
  return frame;
}

// The frame of the sample of type M, for a test to spoil.
template <typename M>
v1::Frame SampleFrame() {
  for (const ChainMessage& message : SampleMessages()) {
    if (std::holds_alternative<M>(message)) return Encoded(message);
  }
  return {};
}

TEST(Codec, EveryKindOfMessageComesBackEqual) {
  size_t kinds = 0;
  size_t last = std::variant_npos;
  for (const ChainMessage& message : SampleMessages()) {
    v1::Frame frame;
    ASSERT_TRUE(frame.ParseFromString(Encoded(message).SerializeAsString()));
    const auto decoded = Decode(kFormat, &frame);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(TextOf(*decoded), TextOf(message));
    kinds += message.index() != last;
    last = message.index();
  }
  EXPECT_EQ(kinds, std::variant_size_v<ChainMessage>) << "a kind has no sample";
}

TEST(Codec, WithoutRowsOnlyTheBytesAreMissing) {
  const std::vector<ChainMessage> samples = SampleMessages();
  const auto with_rows = std::find_if(samples.begin(), samples.end(), [](const ChainMessage& m) {
    const auto* s = std::get_if<Steps>(&m);
    return s != nullptr && s->rows != nullptr;
  });
  ASSERT_NE(with_rows, samples.end());
  const Steps& steps = std::get<Steps>(*with_rows);
  v1::Frame frame;
  EncodeWithoutRows(steps, kFormat, &frame);
  EXPECT_EQ(frame.steps().rows(), "");
  frame.mutable_steps()->set_rows(*steps.rows);
  EXPECT_EQ(frame.SerializeAsString(), Encoded(steps).SerializeAsString());
}

TEST(Codec, AbsentSamplingFieldsHaveTheirDefaults) {
  v1::Frame frame = SampleFrame<OpenHead>();
  frame.mutable_open_head()->clear_sampling();
  const auto decoded = Decode(kFormat, &frame);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(message_text::Text(std::get<OpenHead>(*decoded).params),
            message_text::Text(SamplingParams{}));
}

TEST(Codec, LongAndIllFormedErrorsAreMadeFit) {
  const std::string text =
      "\xFF" + std::string(limits::kMaxErrorBytes - 4, 'x') + "\xC3\xA4\xC3\xA4";
  v1::Frame frame = Encoded(Refused{{1, 2}, {}, absl::InternalError(text)});
  EXPECT_EQ(frame.refused().message(),
            "\xEF\xBF\xBD" + std::string(limits::kMaxErrorBytes - 4, 'x'));
  EXPECT_TRUE(Decode(kFormat, &frame).ok());
}

TEST(Codec, OfAnotherRowFormatIsRefused) {
  for (const RowFormat format : {RowFormat{DType::kF32, kSampleRowBytes}, RowFormat{},
                                 RowFormat{DType::kBF16, 2 * kSampleRowBytes}}) {
    v1::Frame frame = SampleFrame<Steps>();
    EXPECT_TRUE(absl::IsInvalidArgument(Decode(format, &frame).status()));
  }
}

// One spoilt field of a good frame, and what the refusal must name.
struct Bad {
  std::string says;
  v1::Frame frame;
};

template <typename M>
Bad Spoilt(std::string says, const std::function<void(v1::Frame*)>& spoil) {
  v1::Frame frame = SampleFrame<M>();
  spoil(&frame);
  return {std::move(says), frame};
}

constexpr int64_t kFar = limits::kMaxPositions + 1;

std::vector<Bad> BadOpens() {
  using F = v1::Frame*;
  return {
      Spoilt<OpenStage>("gateway", [](F f) { f->mutable_open_stage()->clear_sequence(); }),
      Spoilt<OpenStage>("address", [](F f) { f->mutable_open_stage()->clear_next(); }),
      Spoilt<OpenStage>("address",
                        [](F f) {
                          f->mutable_open_stage()->mutable_next()->set_address(
                              std::string(2000, 'a'));
                        }),
      Spoilt<OpenStage>("incarnation",
                        [](F f) { f->mutable_open_stage()->mutable_next()->clear_incarnation(); }),
      Spoilt<OpenStage>("max_length", [](F f) { f->mutable_open_stage()->set_max_length(kFar); }),
      Spoilt<OpenStage>("reserve", [](F f) { f->mutable_open_stage()->set_reserve(41); }),
      Spoilt<OpenStage>("trial_end", [](F f) { f->mutable_open_stage()->set_trial_end(41); }),
      Spoilt<OpenHead>("trial_end", [](F f) { f->mutable_open_head()->set_trial_end(-1); }),
      Spoilt<OpenStage>("prompt_length",
                        [](F f) { f->mutable_open_stage()->set_prompt_length(41); }),
      Spoilt<OpenStage>("first_wanted", [](F f) { f->mutable_open_stage()->set_first_wanted(-1); }),
      Spoilt<OpenStage>("window_rows", [](F f) { f->mutable_open_stage()->set_window_rows(0); }),
      Spoilt<OpenStage>("decode_groups",
                        [](F f) { f->mutable_open_stage()->set_decode_groups(0); }),
      Spoilt<OpenHead>("-3", [](F f) { f->mutable_open_head()->add_ids(-3); }),
      Spoilt<OpenHead>("number of ids",
                       [](F f) { f->mutable_open_head()->mutable_ids()->Resize(41, 1); }),
      Spoilt<OpenHead>("first_token", [](F f) { f->mutable_open_head()->set_first_token(41); }),
      Spoilt<OpenHead>("window_rows", [](F f) { f->mutable_open_head()->set_window_rows(0); }),
      Spoilt<OpenHead>("score_top", [](F f) { f->mutable_open_head()->set_score_top(65); }),
      Spoilt<OpenHead>(
          "temperature",
          [](F f) { f->mutable_open_head()->mutable_sampling()->set_temperature(std::nan("")); }),
      Spoilt<OpenHead>(
          "logit-bias",
          [](F f) { (*f->mutable_open_head()->mutable_sampling()->mutable_logit_bias())[-1] = 0; }),
      Spoilt<OpenHead>(
          "eos_token_ids",
          [](F f) {
            f->mutable_open_head()->mutable_sampling()->mutable_eos_token_ids()->Resize(2000, 1);
          }),
  };
}

std::vector<Bad> BadSteps() {
  using F = v1::Frame*;
  return {
      Spoilt<Steps>("number of steps", [](F f) { f->mutable_steps()->clear_steps(); }),
      Spoilt<Steps>("position",
                    [](F f) { f->mutable_steps()->mutable_steps(0)->set_position(-1); }),
      Spoilt<Steps>("number of ids",
                    [](F f) {
                      f->mutable_steps()->mutable_steps(0)->set_position(limits::kMaxPositions - 2);
                    }),
      Spoilt<Steps>("round_begin",
                    [](F f) { f->mutable_steps()->mutable_steps(0)->set_round_begin(-1); }),
      Spoilt<Steps>("rotary", [](F f) { f->mutable_steps()->mutable_steps(0)->set_rotary(2); }),
      Spoilt<Steps>("number of ids",
                    [](F f) { f->mutable_steps()->mutable_steps(1)->clear_ids(); }),
      Spoilt<Steps>(
          "row hashes",
          [](F f) { f->mutable_steps()->mutable_steps(0)->mutable_row_hashes()->Resize(4, 0); }),
      Spoilt<Steps>("row_count",
                    [](F f) { f->mutable_steps()->mutable_steps(0)->add_row_hashes(1); }),
      Spoilt<Steps>("size of rows", [](F f) { f->mutable_steps()->mutable_rows()->pop_back(); }),
      Spoilt<Steps>("row_bytes", [](F f) { f->mutable_steps()->set_row_bytes(16); }),
      Spoilt<Steps>("dtype", [](F f) { f->mutable_steps()->clear_row_dtype(); }),
  };
}

std::vector<Bad> BadOthers() {
  using F = v1::Frame*;
  return {
      Spoilt<Close>("gateway", [](F f) { f->mutable_close()->clear_sequence(); }),
      Spoilt<Heartbeat>("next_token",
                        [](F f) { f->mutable_heartbeat()->mutable_open(0)->set_next_token(-1); }),
      Spoilt<Heartbeat>("number of sequences",
                        [](F f) {
                          for (int i = 0; i <= limits::kMaxHeartbeat; ++i)
                            f->mutable_heartbeat()->add_open();
                        }),
      Spoilt<Opened>("length", [](F f) { f->mutable_opened()->set_length(kFar); }),
      Spoilt<Refused>("code", [](F f) { f->mutable_refused()->set_code(0); }),
      Spoilt<Refused>("message",
                      [](F f) {
                        f->mutable_refused()->set_message(
                            std::string(limits::kMaxErrorBytes + 1, 'x'));
                      }),
      Spoilt<Unknown>("gateway", [](F f) { f->mutable_unknown()->clear_sequence(); }),
      Spoilt<Tokens>("number of tokens", [](F f) { f->mutable_tokens()->clear_tokens(); }),
      Spoilt<Tokens>(
          "log-probability",
          [](F f) { f->mutable_tokens()->mutable_tokens(0)->set_logprob(std::nanf("")); }),
      Spoilt<Tokens>("id", [](F f) { f->mutable_tokens()->mutable_tokens(0)->set_id(-2); }),
      Spoilt<Tokens>("alternatives",
                     [](F f) {
                       for (int i = 0; i < 65; ++i)
                         f->mutable_tokens()->mutable_tokens(0)->add_top();
                     }),
      Spoilt<SentLengths>(
          "length", [](F f) { f->mutable_sent_lengths()->mutable_lengths(0)->set_length(-1); }),
      Spoilt<Lengths>("gateway",
                      [](F f) { f->mutable_lengths()->mutable_lengths(0)->clear_sequence(); }),
      Spoilt<NeedFrom>("position", [](F f) { f->mutable_need_from()->set_position(kFar); }),
      Spoilt<Close>("no kind", [](F f) { f->Clear(); }),
      Spoilt<Close>("handshake", [](F f) { f->mutable_hello(); }),
  };
}

void ExpectRefused(std::vector<Bad> all) {
  for (Bad& bad : all) {
    const std::string text = bad.frame.ShortDebugString().substr(0, 200);
    const absl::Status status = Decode(kFormat, &bad.frame).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad.says << ": " << status << "\n" << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.says));
  }
}

TEST(Codec, RefusesOpensOutOfRange) { ExpectRefused(BadOpens()); }
TEST(Codec, RefusesStepsOutOfRange) { ExpectRefused(BadSteps()); }
TEST(Codec, RefusesOtherMessagesOutOfRange) { ExpectRefused(BadOthers()); }

}  // namespace
}  // namespace catena
