// Weights of a Hugging Face folder: one safetensors file, or several with an index that says which
// file holds which tensor. Format: https://github.com/huggingface/safetensors#format
//
// Every byte is hostile until it is checked: header length, JSON (depth, duplicate names), each
// tensor's offsets inside the file and apart from its neighbours, and shape x dtype = bytes. A
// shard named by an index must be a plain file name, so that an index cannot reach outside its
// folder. Malformed or truncated: DATA_LOSS; a dtype that is not read here, once asked for:
// INVALID_ARGUMENT.
//
// Thread rules: const methods may be called from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/json.h"
#include "model/weights/mapped_file.h"
#include "model/weights/tensor_source.h"

namespace catena {

class SafetensorsSource : public TensorSource {
 public:
  // A tensor of any type, with the errors of Find.
  virtual absl::StatusOr<StoredTensor> FindRaw(const std::string& name) const = 0;
};

class SafetensorsFile final : public SafetensorsSource {
 public:
  static absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Open(const std::string& path);
  // The same from memory, which the caller keeps; `source` starts every message.
  static absl::StatusOr<std::shared_ptr<const SafetensorsFile>> Parse(
      absl::Span<const uint8_t> bytes, std::string source);

  absl::StatusOr<TensorView> Find(const std::string& name) const override;
  absl::StatusOr<StoredTensor> FindRaw(const std::string& name) const override;
  bool Has(const std::string& name) const override { return tensors_.count(name) != 0; }
  std::vector<std::string> Names() const override;
  void Release(const TensorView& view) const override;

 private:
  struct Tensor {
    std::string dtype;           // as the header spells it
    std::vector<int64_t> shape;  // slowest first
    absl::Span<const uint8_t> bytes;
  };

  SafetensorsFile() = default;
  absl::Status ParseHeader(absl::Span<const uint8_t> bytes);
  absl::Status AddTensor(const std::string& name, const nlohmann::json& entry,
                         absl::Span<const uint8_t> data);
  absl::Status CheckApart() const;
  absl::Status Corrupt(const std::string& name, std::string_view why) const;

  std::string source_;
  std::shared_ptr<const MappedFile> file_;  // null where the caller keeps the bytes
  std::map<std::string, Tensor> tensors_;
};

// What an index names need not be there: entries of tensors that were removed and shards that no
// one fetched cost nothing until one of their tensors is asked for. A tensor that the index places
// wrongly is found wherever it is.
class ShardedSafetensors final : public SafetensorsSource {
 public:
  // `index_path`: a model.safetensors.index.json; its shards lie beside it. NOT_FOUND where none of
  // them can be opened.
  static absl::StatusOr<std::shared_ptr<const ShardedSafetensors>> Open(
      const std::string& index_path);

  // DATA_LOSS also where the tensor's shard could not be opened.
  absl::StatusOr<TensorView> Find(const std::string& name) const override;
  absl::StatusOr<StoredTensor> FindRaw(const std::string& name) const override;
  bool Has(const std::string& name) const override { return holder_of_.count(name) != 0; }
  std::vector<std::string> Names() const override;
  void Release(const TensorView& view) const override;

 private:
  ShardedSafetensors() = default;
  absl::Status Place(const nlohmann::json& weight_map);
  absl::Status OpenShards();
  absl::StatusOr<const SafetensorsFile*> HolderOf(const std::string& name) const;

  std::string source_;
  // By file name: the shard, or why it could not be opened.
  std::map<std::string, absl::StatusOr<std::shared_ptr<const SafetensorsFile>>> shards_;
  std::map<std::string, std::string> file_of_;               // by tensor, as the index says
  std::map<std::string, const SafetensorsFile*> holder_of_;  // by tensor, where it is
};

// Opens a folder's model.safetensors, or else its model.safetensors.index.json. NOT_FOUND where it
// has neither, with what to do about the weights that it does have.
absl::StatusOr<std::shared_ptr<const SafetensorsSource>> OpenSafetensorsFolder(
    const std::string& folder);

}  // namespace catena
