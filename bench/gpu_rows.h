// What gpu_bench measures, a function a row. A row's figures are times, bytes and operations; what
// they are a share of is for tests/gpu/measure.py to say.
//
// Thread rules: one thread.
#pragma once

#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "kernels/base/status.h"
#include "runtime/local/engine.h"

namespace catena {

struct RowOptions {
  std::string backend = "cuda";
  std::string shapes;  // the folder of the models' config.json files
  bool small = false;  // a tiny model and few ops: for an emulation
};

using Figures = nlohmann::json;

// Bytes that a copy on the device reads and writes a second.
absl::StatusOr<Figures> MeasureCopy(const RowOptions& options);

// Every op against the reference, at small shapes.
absl::StatusOr<Figures> CompareOps(const RowOptions& options);
// Every op against the backend cpu, which has the reference's bits, at shapes of models.
absl::StatusOr<Figures> CompareModelOps(const RowOptions& options);

// A model of a shape with random weights.
class ModelRows {
 public:
  static absl::StatusOr<std::unique_ptr<ModelRows>> Load(const RowOptions& options,
                                                         const std::string& shape, DType format);

  // A greedy step of sequences that have 512 positions, from ids to the ids of the next.
  absl::StatusOr<Figures> Decode(int streams);
  // 2,048 positions of one sequence, to the first new id.
  absl::StatusOr<Figures> Prefill();
  // 100 new tokens after a prompt of 30, with the cache, and with none: all positions each time.
  absl::StatusOr<Figures> Book();
  // Hidden rows of one text, computed whole, in pieces and beside other sequences: the same bits?
  absl::StatusOr<Figures> CompareBatches();

 private:
  class Sequences;
  struct Sizes {
    int context, steps, prefill, book_prompt, book_tokens;
    std::vector<int> pieces;  // of CompareBatches
  };
  ModelRows(const Sizes& sizes, DType format) : sizes_(sizes), format_(format) {}
  static Sizes SizesOf(bool small);
  // Values of the weights that a row is multiplied by.
  int64_t BlockValues() const;
  int64_t HeadValues() const;
  int64_t WeightBytes() const;
  double BookSeconds(bool cache, absl::Status* status);

  const Sizes sizes_;
  const DType format_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace catena
