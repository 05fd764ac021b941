// Where weights come from, by name: what a GGUF file, safetensors and random weights have in
// common. Thread rules: const methods may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"

#include "kernels/base/status.h"
#include "kernels/base/tensor.h"

namespace catena {

// A tensor as it lies in its file, of whatever type. Its extent has been checked.
struct StoredTensor {
  std::string name;
  std::string type;            // as the file spells it
  std::vector<int64_t> shape;  // slowest first
  absl::Span<const uint8_t> bytes;
  std::shared_ptr<const void> owner;  // as TensorView's
};

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

  // What tells one model from another without making any of its tensors: those that the file holds.
  virtual std::vector<std::string> StoredNames() const { return Names(); }
  virtual absl::StatusOr<StoredTensor> FindStored(const std::string& name) const {
    CATENA_ASSIGN_OR_RETURN(const TensorView t, Find(name));
    return StoredTensor{.name = name,
                        .type = fmt::format("{}", static_cast<int>(t.dtype)),
                        .shape = {t.rows, t.cols},
                        .bytes = t.bytes,
                        .owner = t.owner};
  }
};

}  // namespace catena
