// The parts of one quantised weight in a safetensors file, put together as a QuantMatrix. One
// object a weight; one thread.
#pragma once

#include <string>
#include <vector>

#include "model/weights/quantised/quant_matrix.h"
#include "model/weights/quantised/scheme.h"
#include "model/weights/safetensors.h"

namespace catena {

// Whether `module` ("model.layers.0.mlp.down_proj") has a quantised weight.
bool IsQuantisedModule(const SafetensorsSource& file, const QuantScheme& scheme,
                       const std::string& module);

class ModuleReader {
 public:
  // All are to outlive this.
  ModuleReader(const SafetensorsSource& file, const QuantScheme& scheme, const std::string& module,
               const std::string& path)
      : file_(file), scheme_(scheme), module_(module), path_(path) {}

  // REQUIRES: IsQuantisedModule.
  absl::StatusOr<QuantMatrix> Read();
  // What was read, whose pages may be released once the matrix is converted.
  const std::vector<StoredTensor>& used() const { return used_; }

 private:
  absl::Status ReadAwq();
  absl::Status ReadGptq();
  absl::Status ReadPacked();
  absl::Status ReadBytes();

  // A part, of one of the types named.
  absl::StatusOr<StoredTensor> Get(const char* part, std::vector<std::string_view> types);
  // Also where its shard is missing, which Get then tells.
  bool Has(const char* part) const {
    return !absl::IsNotFound(file_.FindRaw(Spell(part)).status());
  }
  std::string Spell(std::string_view part) const { return module_ + std::string(part); }

  // Inputs that share a scale where a row has `groups` scales; 0: the config states otherwise.
  int64_t GroupSizeOf(int64_t groups) const;
  // "groups of 64", for messages.
  std::string StatedGroups() const;
  // Scales in groups of inputs, `groups` and rows in the file's order, which is this one.
  absl::Status ReadColumnScales();
  // The others.
  absl::Status ReadScales(const char* part);
  absl::Status SetBlocks(const StoredTensor& scales);
  absl::Status ReadSignedZeros();
  absl::Status ReadPackedZeros(const StoredTensor& zeros);
  absl::Status CheckZeroZeros();
  absl::Status CheckGroupIndex(const char* part);
  absl::Status CheckExtent(const StoredTensor& t, std::vector<int64_t> want) const;

  absl::Status Corrupt(std::string_view part, std::string_view why) const;
  absl::Status Refuse(std::string_view part, std::string_view what, std::string_view instead) const;

  const SafetensorsSource& file_;
  const QuantScheme& scheme_;
  const std::string &module_, &path_;
  QuantMatrix matrix_;
  std::vector<StoredTensor> used_;
};

}  // namespace catena
