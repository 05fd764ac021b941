// Weights drawn from a seed, so that a model of any size runs without a download.
//
// A tensor's values depend on the seed, its name and its format only: not on what else was drawn,
// nor on the machine (no libm, no standard distributions). Each row has a stream of its own, hash
// (seed, name, row), read by a counter, and is drawn directly in the target format:
//   f32, f16, bf16        4096 evenly spaced values, standard deviation 1.2 / sqrt(cols)
//   quantised             random codes; the scale varies by up to a quarter from block to block,
//                         so that the standard deviation is about 1.2 / sqrt(cols)
//   gains, biases         f32 in [0.5, 1.5)
//
// Thread rules: const methods may be called from any thread, and different tensors are best asked
// for from different threads: one draws about a billion values a second.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/weights/tensor_source.h"

namespace catena {

// What a tensor of a model must look like.
struct TensorSpec {
  std::string name;
  int64_t rows = 1, cols = 0;  // a vector has one row
  bool is_vector = false;      // a norm's gain or a bias, kept as float32
  float added = 0.0f;          // TensorView::added
};

class RandomWeights final : public TensorSource {
 public:
  // INVALID_ARGUMENT that names the tensor where a quantised `format` meets rows that are not whole
  // blocks.
  static absl::StatusOr<std::shared_ptr<const RandomWeights>> Make(
      uint64_t seed, DType format, const std::vector<TensorSpec>& tensors);

  // Draws the tensor; the view owns its bytes. RESOURCE_EXHAUSTED where memory lacks.
  absl::StatusOr<TensorView> Find(const std::string& name) const override;
  bool Has(const std::string& name) const override { return tensors_.count(name) != 0; }
  std::vector<std::string> Names() const override;
  void Release(const TensorView&) const override {}  // memory goes when its view does

 private:
  RandomWeights(uint64_t seed, DType format) : seed_(seed), format_(format) {}

  uint64_t seed_;
  DType format_;
  std::map<std::string, TensorSpec> tensors_;
};

// Draws rows [begin, end) of a tensor into `out`, (end - begin) * RowBytes(dtype, cols) bytes.
// REQUIRES: cols is a multiple of dtype's block; a norm's dtype is f32.
void DrawRows(uint64_t seed, const TensorSpec& tensor, DType dtype, int64_t begin, int64_t end,
              uint8_t* out);

}  // namespace catena
