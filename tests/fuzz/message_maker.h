// Chain messages out of a fuzzer's bytes: of few sequences and small numbers, so that they meet, a
// little past what is allowed on either side.
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <fuzzer/FuzzedDataProvider.h>

#include "runtime/chain/limits.h"
#include "runtime/chain/messages.h"

namespace catena {

class MessageMaker {
 public:
  static constexpr int64_t kRowBytes = 4;
  static constexpr int64_t kVocab = 7;
  static constexpr int64_t kMaxPositions = 40;

  explicit MessageMaker(FuzzedDataProvider* data) : data_(*data) {}

  Incarnation Peer() { return Int<uint64_t>(0, 4); }
  template <class T>
  T Int(T least, T most) {
    return data_.ConsumeIntegralInRange<T>(least, most);
  }

  ChainMessage Make() {
    switch (Int(0, 12)) {
      case 0:
        return Stage();
      case 1:
        return Head();
      case 2:
        return Close{Key()};
      case 3:
        return Beat();
      case 4:
        return Opened{Key(), Lives(), Position()};
      case 5:
        return Refused{Key(), Lives(), Why()};
      case 6:
        return Unknown{Key(), Lives()};
      case 7:
        return TokensOfHead();
      case 8:
        return SentLengths{ManyLengths()};
      case 9:
        return Lengths{ManyLengths()};
      case 10:
        return NeedFrom{Key(), Lives(), Int<uint64_t>(0, 5), Position()};
      case 11:
        return State();
      case 12:
        return Go{Key(), Lives(), Position(), Position(), Position()};
      default:
        return Rows();
    }
  }

 private:
  bool Bool() { return data_.ConsumeBool(); }
  SequenceKey Key() { return {.gateway = Int<uint64_t>(1, 2), .number = Int<uint64_t>(0, 3)}; }
  Life Lives() { return {.epoch = Int(0u, 2u), .round = Int(0u, 2u)}; }
  int64_t Position() { return Int<int64_t>(-1, kMaxPositions + 1); }
  std::vector<int32_t> Ids() {
    std::vector<int32_t> ids(Int<size_t>(0, 20));
    for (int32_t& id : ids) id = Int<int32_t>(-1, kVocab);
    return ids;
  }
  absl::Status Why() {
    return Bool() ? absl::ResourceExhaustedError("no pages") : absl::UnavailableError("gone");
  }

  OpenStage Stage() {
    return {.sequence = Key(),
            .life = Lives(),
            .upstream = Peer(),
            .next = {.address = "next", .incarnation = Peer()},
            .next_is_head = Bool(),
            .prompt_length = Position(),
            .max_length = Position(),
            .first_wanted = Position(),
            .window_rows = Int<int64_t>(0, 30),
            .decode_groups = Int(0, 3),
            .reserve = Int<int64_t>(-1, kMaxPositions),
            .came = Int<int64_t>(-1, 3),
            .started = Bool(),
            .trial_end = Position()};
  }
  OpenHead Head() {
    OpenHead open{.sequence = Key(),
                  .life = Lives(),
                  .upstream = Peer(),
                  .ids = Ids(),
                  .prompt_length = Position(),
                  .max_length = Position(),
                  .first_wanted = Position(),
                  .first_token = Position(),
                  .window_rows = Int<int64_t>(0, 30),
                  .score_top = Int(-1, 3),
                  .sequence_index = Int(0u, 2u),
                  .params = {}};
    open.params.temperature = Bool() ? 0 : 1;
    open.params.logprobs = Bool();
    open.trial_end = Position();
    return open;
  }
  Heartbeat Beat() {
    Heartbeat beat{.newest = Int<uint64_t>(0, 4), .open = {}};
    for (int n = Int(0, 3); n > 0; --n) beat.open.push_back({Key(), Lives(), Position(), Bool()});
    return beat;
  }
  Tokens TokensOfHead() {
    Tokens tokens;
    for (int n = Int(0, 3); n > 0; --n) {
      const SampledToken token{Int<int32_t>(-1, kVocab), 0, {}};
      tokens.tokens.push_back({Key(), Lives(), Position(), token});
    }
    return tokens;
  }
  Condition State() {
    Condition condition{.broken = {}, .draining = Bool()};
    for (int n = Int(0, 3); n > 0; --n) condition.broken.push_back({Peer(), Why()});
    return condition;
  }
  std::vector<Length> ManyLengths() {
    std::vector<Length> lengths;
    for (int n = Int(0, 3); n > 0; --n) lengths.push_back({Key(), Lives(), Position()});
    return lengths;
  }
  // As the codec leaves them: hashes are of the rows, no step has more rows than ids.
  Steps Rows() {
    Steps steps{.batch = Int<uint64_t>(0, 3), .steps = {}, .rows = nullptr};
    auto rows = std::make_shared<std::string>();
    for (int n = Int(1, 3); n > 0; --n) {
      Step step{Key(), Lives(), Position(), Int(0, 1), Position(), Ids(), {}};
      step.row_hashes.resize(Bool() ? step.ids.size() : Int<size_t>(0, step.ids.size()));
      for (uint64_t& hash : step.row_hashes) {
        hash = Int<uint64_t>(0, 1);
        rows->append(kRowBytes, static_cast<char>(hash));
      }
      steps.steps.push_back(std::move(step));
    }
    if (Int(0, 20) == 0) rows->append("?");
    if (!rows->empty()) steps.rows = rows;
    return steps;
  }

  FuzzedDataProvider& data_;
};

}  // namespace catena
