// The weights of a Hugging Face folder that are quantised: each is made, when it is asked for, into
// a format of ours (quant_matrix.h) under the name that it has where it is not quantised. Tensors
// that are not quantised are given as they lie in the file.
//
// Every byte is hostile: a tensor's parts must be of the shapes that belong together, scales
// finite, and what is allocated is bounded by what the file has. Malformed: DATA_LOSS; a layout
// that is not read here: INVALID_ARGUMENT with what works instead.
//
// Thread rules: const methods may be called from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/weights/quantised/scheme.h"
#include "model/weights/safetensors.h"

namespace catena {

class QuantisedWeights final : public TensorSource {
 public:
  // `path` starts the messages of this class.
  QuantisedWeights(std::shared_ptr<const SafetensorsSource> file, QuantScheme scheme,
                   std::string path)
      : file_(std::move(file)), scheme_(std::move(scheme)), path_(std::move(path)) {}

  // The view of a quantised tensor owns its bytes. RESOURCE_EXHAUSTED where memory lacks.
  absl::StatusOr<TensorView> Find(const std::string& name) const override;
  // A bias of zeros beside a quantised weight, which AutoGPTQ writes, counts as none.
  bool Has(const std::string& name) const override;
  std::vector<std::string> Names() const override;
  void Release(const TensorView& view) const override;

  std::vector<std::string> StoredNames() const override { return file_->Names(); }
  absl::StatusOr<StoredTensor> FindStored(const std::string& name) const override;

 private:
  std::shared_ptr<const SafetensorsSource> file_;
  QuantScheme scheme_;
  std::string path_;
};

// INVALID_ARGUMENT where weights are quantised that no config speaks of.
absl::Status CheckNotQuantised(const TensorSource& file, const std::string& path);

}  // namespace catena
