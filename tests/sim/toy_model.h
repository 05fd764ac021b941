// A model whose every row is a hash of all cached rows before it, so that one wrong, missing or
// twice-written position shows in every later token. Thread rules: one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/sampler/sampler.h"
#include "model/sampler/token_history.h"
#include "runtime/chain/stage_core.h"

namespace catena::sim {

inline constexpr int64_t kRowBytes = 16;
inline constexpr int64_t kVocab = 61;
inline constexpr int kLayers = 12;

inline uint64_t Mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15u + (b ^ (a >> 29)) * 0xbf58476d1ce4e5b9u + 1;
  x ^= x >> 30;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 27);
}

struct ToyRow {
  uint64_t a = 0, b = 0;
};
inline ToyRow Embed(int32_t id, int rotary) {
  return {Mix(1, static_cast<uint64_t>(id)), Mix(2, static_cast<uint64_t>(id + 7 * rotary))};
}

// Which rotary factors a text of so many positions is computed with.
inline int ToyRotary(int64_t length, int64_t rotary_switch) {
  return rotary_switch > 0 && length > rotary_switch ? 1 : 0;
}

// A text that begins so makes every stage that computes it fail.
inline constexpr int32_t kPoison = 7;
inline constexpr int64_t kPoisonLength = 6;

// Layers [begin, end) of one sequence: by layer and position the hash of all rows so far.
class ToyCache {
 public:
  explicit ToyCache(LayerRange layers)
      : layers_(layers), hashes_(static_cast<size_t>(layers.size())) {}
  int rotary() const { return rotary_; }
  // REQUIRES: length() is 0.
  void ChooseRotary(int rotary) {
    CATENA_CHECK(length() == 0);
    rotary_ = rotary;
  }
  int64_t length() const { return static_cast<int64_t>(hashes_[0].size()); }
  void Truncate(int64_t length) {
    poison_ = std::min(poison_, length);
    for (auto& layer : hashes_) layer.resize(static_cast<size_t>(length));
  }
  // The id of the position that was computed last. Whether it completes the poison.
  bool Swallow(int32_t id) {
    const bool poison = id == kPoison && poison_ == length() - 1;
    if (poison) ++poison_;
    return poison && poison_ == kPoisonLength;
  }
  ToyRow Run(ToyRow x) {
    for (int i = 0; i < layers_.size(); ++i) {
      std::vector<uint64_t>& cached = hashes_[i];
      const uint64_t before = cached.empty() ? 0 : cached.back();
      cached.push_back(Mix(before, Mix(x.a, x.b + static_cast<uint64_t>(layers_.begin + i))));
      x = {Mix(cached.back(), x.a), Mix(cached.back(), x.b + 3)};
    }
    return x;
  }

 private:
  LayerRange layers_;
  int rotary_ = 0;
  int64_t poison_ = 0;  // positions from the beginning on that have the poison's id
  std::vector<std::vector<uint64_t>> hashes_;
};

inline std::vector<float> ToyLogits(ToyRow row) {
  std::vector<float> logits(kVocab);
  for (int64_t i = 0; i < kVocab; ++i) {
    logits[i] = static_cast<float>(Mix(row.a ^ row.b, static_cast<uint64_t>(i)) % 4096) / 512.0f;
  }
  return logits;
}

// A stage's KV cache of so many positions in all. With a window, positions that slid out are gone.
class ToyMemory : public StageMemory {
 public:
  ToyMemory(LayerRange layers, int64_t positions, int64_t window)
      : layers_(layers), positions_(positions), window_(window) {}
  absl::Status Open(uint64_t id, int64_t max_length, int64_t reserve) override {
    if (max_length > positions_) return absl::InvalidArgumentError("never");
    if (used_ + reserve > positions_) return absl::ResourceExhaustedError("full");
    used_ += reserve;
    entries_.emplace(id, Entry{ToyCache(layers_), reserve});
    return absl::OkStatus();
  }
  bool Fits(int64_t reserve, absl::Span<const uint64_t> without) const override {
    int64_t used = used_;
    for (const uint64_t id : without) used -= entries_.at(id).held;
    return used + reserve <= positions_;
  }
  absl::Status ChooseRotary(uint64_t id, int32_t rotary) override {
    entries_.at(id).cache.ChooseRotary(rotary);
    return absl::OkStatus();
  }
  absl::Status Extend(uint64_t id, int64_t length) override {
    Entry& e = entries_.at(id);
    const int64_t more = std::max<int64_t>(0, length - e.held);
    if (used_ + more > positions_) return absl::ResourceExhaustedError("full");
    used_ += more;
    e.held += more;
    return absl::OkStatus();
  }
  absl::Status Truncate(uint64_t id, int64_t length) override {
    Entry& e = entries_.at(id);
    if (length > 0 && window_ > 0 && e.cache.length() - length > window_ / 2) {
      return absl::FailedPreconditionError("slid out");
    }
    e.cache.Truncate(length);
    return absl::OkStatus();
  }
  void Close(uint64_t id) override {
    used_ -= entries_.at(id).held;
    entries_.erase(id);
  }
  ToyCache& cache(uint64_t id) { return entries_.at(id).cache; }
  int64_t used() const { return used_; }
  // Sequences, with those that are closed and that a batch still has.
  int64_t sequences() const { return static_cast<int64_t>(entries_.size()); }

 private:
  struct Entry {
    ToyCache cache;
    int64_t held;  // positions, with those that are set aside
  };
  LayerRange layers_;
  int64_t positions_, window_, used_ = 0;
  std::map<uint64_t, Entry> entries_;
};

// What a batch's rows become; nullopt: the process dies of it.
inline std::optional<std::string> RunToyStage(const StageBatch& batch, bool first,
                                              ToyMemory* memory) {
  std::string input;
  for (const RowRun& run : batch.input) {
    input.append(*run.payload, run.offset, static_cast<size_t>(run.rows * kRowBytes));
  }
  CATENA_CHECK(first || static_cast<int64_t>(input.size()) == batch.rows() * kRowBytes);
  std::string output;
  int64_t at = 0;
  for (const StageBatch::Span& span : batch.spans) {
    ToyCache& cache = memory->cache(span.id);
    CATENA_CHECK(cache.length() == span.first_position);
    for (int64_t i = 0; i < span.rows; ++i, ++at) {
      ToyRow x;
      if (first) {
        x = Embed(batch.ids[at], cache.rotary());
      } else {
        std::memcpy(&x, input.data() + at * kRowBytes, sizeof x);
      }
      x = cache.Run(x);
      if (cache.Swallow(batch.ids[at])) return std::nullopt;
      output.append(reinterpret_cast<const char*>(&x), sizeof x);
    }
  }
  return output;
}

// The whole model in a loop: what every request must get. A text that passes `rotary_switch` is
// computed anew with the other factors, and so goes on.
inline std::vector<int32_t> ReferenceTokens(const std::vector<int32_t>& prompt,
                                            const SamplingParams& params, uint32_t index,
                                            int64_t rotary_switch, int64_t context) {
  const Sampler sampler = *Sampler::Make(params, kVocab);
  SamplerScratch scratch;
  TokenHistory history(static_cast<int64_t>(prompt.size()));
  history.Append(prompt);
  std::vector<int32_t> ids = prompt;
  std::vector<int32_t> output;
  std::optional<ToyCache> cache;
  ToyRow x;
  while (true) {
    const int rotary = ToyRotary(static_cast<int64_t>(ids.size()), rotary_switch);
    if (!cache || cache->rotary() != rotary) {
      cache.emplace(LayerRange{0, kLayers}).ChooseRotary(rotary);
    }
    for (auto p = static_cast<size_t>(cache->length()); p < ids.size(); ++p) {
      x = cache->Run(Embed(ids[p], rotary));
    }
    const int32_t id = sampler.Sample(ToyLogits(x), history, index, &scratch)->id;
    output.push_back(id);
    ids.push_back(id);
    history.Append(id);
    const bool full = history.size() > context;
    if (full || FinishAfter(params, history.n_output(), id)) return output;
  }
}

}  // namespace catena::sim
