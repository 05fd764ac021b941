#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "bench/gpu_rows.h"

#include "model/rope_frequencies.h"
#include "model/sampler/sampler.h"

namespace catena {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The ids of a text, another one for each `seed`.
std::vector<int32_t> TextOf(int length, int seed, int64_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (int i = 0; i < length; ++i) {
    ids[i] = static_cast<int32_t>((int64_t{i} * 7919 + int64_t{seed} * 104729 + 17) % vocab);
  }
  return ids;
}

}  // namespace

// Sequences of the engine that take their steps together.
class ModelRows::Sequences {
 public:
  explicit Sequences(Engine* engine)
      : engine_(engine), greedy_(*Sampler::Make({}, engine->config().vocab_size)) {}
  ~Sequences() {
    for (const Sequence& s : sequences_) engine_->Close(s.id);
  }

  // A sequence more, of these ids.
  absl::Status Add(const std::vector<int32_t>& ids) {
    const int rotary = ChooseRotaryTable(engine_->config(), static_cast<int64_t>(ids.size()));
    CATENA_ASSIGN_OR_RETURN(const SequenceId id, engine_->Open(rotary));
    sequences_.push_back({.id = id, .length = 0, .next = ids});
    return absl::OkStatus();
  }
  // Computes what is not yet, each sequence by itself.
  absl::Status Prefill() {
    for (Sequence& s : sequences_) {
      CATENA_ASSIGN_OR_RETURN(const StageRows hidden, Run({&s, 1}));
      CATENA_RETURN_IF_ERROR(Choose({&s, 1}, hidden));
    }
    return absl::OkStatus();
  }
  // A step of all together.
  absl::Status Step() {
    CATENA_ASSIGN_OR_RETURN(const StageRows hidden, Run(absl::MakeSpan(sequences_)));
    return Choose(absl::MakeSpan(sequences_), hidden);
  }
  // The hidden rows of `ids`, with which all go on: those of each, one after the other.
  absl::StatusOr<std::vector<float>> HiddenOf(const std::vector<int32_t>& ids) {
    for (Sequence& s : sequences_) s.next = ids;
    CATENA_RETURN_IF_ERROR(Run(absl::MakeSpan(sequences_)).status());
    const HostRows rows = engine_->Fetch();
    std::vector<float> values;
    for (int r = 0; r < rows.rows; ++r) {
      values.insert(values.end(), rows.row(r), rows.row(r) + rows.cols);
    }
    return values;
  }
  // Forgets the positions of all; `ids` are theirs anew.
  absl::Status StartAnew(const std::vector<int32_t>& ids) {
    for (Sequence& s : sequences_) {
      CATENA_RETURN_IF_ERROR(engine_->Truncate(s.id, 0));
      s.length = 0;
      s.next = ids;
    }
    return absl::OkStatus();
  }
  int32_t next_of_first() const { return sequences_.front().next.front(); }

 private:
  struct Sequence {
    SequenceId id;
    int64_t length;  // positions that are computed
    std::vector<int32_t> next;
  };

  absl::StatusOr<StageRows> Run(absl::Span<Sequence> sequences) {
    std::vector<StageSpan> spans;
    last_rows_.clear();
    int32_t row = -1;
    for (Sequence& s : sequences) {
      spans.push_back({.sequence = s.id, .first_position = s.length, .ids = s.next});
      last_rows_.push_back(row += static_cast<int32_t>(s.next.size()));
      s.length += static_cast<int64_t>(s.next.size());
    }
    return engine_->Forward(spans);
  }
  // The likeliest id after each.
  absl::Status Choose(absl::Span<Sequence> sequences, const StageRows& hidden) {
    LogitSource& logits = engine_->LogitsToSample(hidden, last_rows_);
    for (size_t i = 0; i < sequences.size(); ++i) {
      CATENA_ASSIGN_OR_RETURN(
          const SampledToken token,
          greedy_.Sample(logits, static_cast<int64_t>(i), history_, 0, &scratch_));
      sequences[i].next = {token.id};
    }
    return absl::OkStatus();
  }

  Engine* engine_;
  std::vector<Sequence> sequences_;
  std::vector<int32_t> last_rows_;  // of the spans that run
  const Sampler greedy_;
  const TokenHistory history_{0};
  SamplerScratch scratch_;
};

ModelRows::Sizes ModelRows::SizesOf(bool small) {
  if (small) return {40, 3, 70, 5, 4, {1, 3, 10}};
  return {512, 32, 2048, 30, 100, {1, 3, 8, 17, 64, 300}};
}

absl::StatusOr<std::unique_ptr<ModelRows>> ModelRows::Load(const RowOptions& options,
                                                           const std::string& shape, DType format) {
  const std::string path = options.shapes + "/" + (options.small ? "tiny" : shape) + ".json";
  CATENA_ASSIGN_OR_RETURN(const auto checkpoint,
                          Checkpoint::Open(path, {.weights = "random:1", .random_format = format}));
  std::unique_ptr<ModelRows> rows(new ModelRows(SizesOf(options.small), format));
  const Sizes& sizes = rows->sizes_;
  constexpr int kMostStreams = 64;
  // The pages of the longest sequence, as often as 64 sequences of Decode need.
  const int64_t positions = sizes.prefill + 64;
  const int64_t pages = kMostStreams * (sizes.context / kPagePositions + 2);
  CATENA_ASSIGN_OR_RETURN(
      rows->engine_,
      Engine::Load(*checkpoint, {.backend = options.backend,
                                 .activations = Activations::kInt8,
                                 .layers = {},
                                 .max_rows = sizes.prefill,
                                 .max_logit_rows = kMostStreams,
                                 .max_positions = positions,
                                 .max_sequences = 1 + pages / (positions / kPagePositions)}));
  return rows;
}

int64_t ModelRows::BlockValues() const {
  const ModelConfig& c = engine_->config();
  return c.n_layers * c.hidden_size * (c.qkv_cols() + c.q_cols() + 3 * c.intermediate_size);
}
int64_t ModelRows::HeadValues() const {
  return engine_->config().vocab_size * engine_->config().hidden_size;
}
int64_t ModelRows::WeightBytes() const { return RowBytes(format_, BlockValues() + HeadValues()); }

absl::StatusOr<Figures> ModelRows::Decode(int streams) {
  constexpr int kWarm = 3;  // issued, recorded, replayed
  const ModelConfig& c = engine_->config();
  Sequences sequences(engine_.get());
  for (int i = 0; i < streams; ++i) {
    CATENA_RETURN_IF_ERROR(sequences.Add(TextOf(sizes_.context, i, c.vocab_size)));
  }
  CATENA_RETURN_IF_ERROR(sequences.Prefill());
  for (int i = 0; i < kWarm; ++i) CATENA_RETURN_IF_ERROR(sequences.Step());
  std::vector<double> seconds;
  for (int i = 0; i < sizes_.steps; ++i) {
    const Clock::time_point start = Clock::now();
    CATENA_RETURN_IF_ERROR(sequences.Step());
    seconds.push_back(SecondsSince(start));
  }
  const int64_t positions = sizes_.context + kWarm + sizes_.steps / 2;  // in the middle
  const int64_t cache = streams * positions * c.n_layers * 2 * RowBytes(DType::kF16, c.kv_cols());
  return Figures{{"seconds", Median(seconds)},
                 {"seconds_least", *std::min_element(seconds.begin(), seconds.end())},
                 {"streams", streams},
                 {"bytes", WeightBytes() + cache}};
}

absl::StatusOr<Figures> ModelRows::Prefill() {
  constexpr int kTries = 3;
  const ModelConfig& c = engine_->config();
  const int64_t n = sizes_.prefill;
  std::vector<double> seconds;
  for (int i = 0; i < kTries; ++i) {
    Sequences sequence(engine_.get());
    CATENA_RETURN_IF_ERROR(sequence.Add(TextOf(sizes_.prefill, i, c.vocab_size)));
    const Clock::time_point start = Clock::now();
    CATENA_RETURN_IF_ERROR(sequence.Prefill());
    seconds.push_back(SecondsSince(start));
  }
  // Two operations a value and row; the head's of the last row. Scores and their sums of all
  // positions before, in a window too: none is as short here.
  const int64_t linear = 2 * (n * BlockValues() + HeadValues());
  const int64_t attention = 2 * n * (n + 1) * c.n_layers * c.q_cols();
  return Figures{{"seconds", Median(seconds)}, {"tokens", n}, {"operations", linear + attention}};
}

double ModelRows::BookSeconds(bool cache, absl::Status* status) {
  Sequences sequence(engine_.get());
  std::vector<int32_t> ids = TextOf(sizes_.book_prompt, 1, engine_->config().vocab_size);
  *status = sequence.Add(ids);
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < sizes_.book_tokens && status->ok(); ++i) {
    *status = sequence.Step();
    if (!status->ok() || cache) continue;
    ids.push_back(sequence.next_of_first());
    *status = sequence.StartAnew(ids);
  }
  return SecondsSince(start);
}

absl::StatusOr<Figures> ModelRows::Book() {
  absl::Status status;
  BookSeconds(true, &status);  // warm
  CATENA_RETURN_IF_ERROR(status);
  const double with_cache = BookSeconds(true, &status);
  CATENA_RETURN_IF_ERROR(status);
  const double without = BookSeconds(false, &status);
  CATENA_RETURN_IF_ERROR(status);
  return Figures{
      {"tokens", sizes_.book_tokens}, {"seconds", with_cache}, {"seconds_without_cache", without}};
}

absl::StatusOr<Figures> ModelRows::CompareBatches() {
  const ModelConfig& c = engine_->config();
  const int length = std::accumulate(sizes_.pieces.begin(), sizes_.pieces.end(), 0);
  const std::vector<int32_t> text = TextOf(length, 1, c.vocab_size);
  std::vector<float> whole;
  {
    Sequences alone(engine_.get());
    CATENA_RETURN_IF_ERROR(alone.Add(text));
    CATENA_ASSIGN_OR_RETURN(whole, alone.HiddenOf(text));
  }
  const auto cols = static_cast<size_t>(c.hidden_size);
  int64_t compared = 0;
  Figures wrong = Figures::array();
  for (const int beside : {1, 5}) {
    Sequences sequences(engine_.get());
    for (int i = 0; i < beside; ++i) CATENA_RETURN_IF_ERROR(sequences.Add(text));
    int done = 0;
    for (const int n : sizes_.pieces) {
      CATENA_ASSIGN_OR_RETURN(const std::vector<float> piece,
                              sequences.HiddenOf({text.begin() + done, text.begin() + done + n}));
      const size_t size = static_cast<size_t>(n) * cols;
      for (int i = 0; i < beside; ++i, ++compared) {
        if (std::memcmp(piece.data() + i * size, whole.data() + done * cols,
                        size * sizeof(float)) == 0) {
          continue;
        }
        wrong.push_back(fmt::format("{} rows from {} on, {} sequences", n, done, beside));
      }
      done += n;
    }
  }
  return Figures{{"compared", compared}, {"wrong", wrong}};
}

}  // namespace catena
