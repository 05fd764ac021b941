// Where weights come from, by name: what a GGUF file, safetensors and random weights have in
// common. Thread rules: const methods may be called from any thread.
#pragma once

#include <string>
#include <vector>

#include "kernels/base/status.h"
#include "kernels/base/tensor.h"

namespace catena {

// Tensors by name. Find checks extent and dtype; a caller checks the shape.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // NOT_FOUND where the name is absent; DATA_LOSS where the file lies about it; INVALID_ARGUMENT
  // where the tensor is of a type that is not read here. Every message names file and tensor.
  virtual absl::StatusOr<TensorView> Find(const std::string& name) const = 0;
  virtual bool Has(const std::string& name) const = 0;
  virtual std::vector<std::string> Names() const = 0;
  // Gives the mapped pages of a view back to the system; the view stays readable (from the file).
  virtual void Release(const TensorView& view) const = 0;
};

}  // namespace catena
