#include "model/weights/safetensors.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "model/file_limits.h"
#include "model/model_limits.h"

namespace catena {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;  // the header's length, a little-endian uint64
constexpr int kMaxDims = 8;           // published tensors have at most 5

// Element types by the header's spelling. Those without a DType have a size only.
struct ElementType {
  std::string_view name;
  int bytes;
  std::optional<DType> dtype;
};
constexpr ElementType kElementTypes[] = {
    {"F32", 4, DType::kF32}, {"F16", 2, DType::kF16}, {"BF16", 2, DType::kBF16},
    {"F64", 8, {}},          {"I64", 8, {}},          {"U64", 8, {}},
    {"I32", 4, {}},          {"U32", 4, {}},          {"I16", 2, {}},
    {"U16", 2, {}},          {"I8", 1, {}},           {"U8", 1, {}},
    {"BOOL", 1, {}},         {"F8_E4M3", 1, {}},      {"F8_E5M2", 1, {}},
};

const ElementType* FindElementType(std::string_view name) {
  for (const ElementType& t : kElementTypes) {
    if (t.name == name) return &t;
  }
  return nullptr;
}

// A JSON array of `out`'s element type that holds only integers of 0 or more.
bool ReadSizes(const json& array, size_t max_count, std::vector<int64_t>* out) {
  if (!array.is_array() || array.size() > max_count) return false;
  for (const json& v : array) {
    if (!v.is_number_unsigned() || v.get<uint64_t>() > uint64_t{INT64_MAX}) return false;
    out->push_back(v.get<int64_t>());
  }
  return true;
}

// A file's own name, with nothing that leads out of the folder.
bool IsPlainFileName(std::string_view name) {
  if (name.empty() || name.size() > 255 || name[0] == '.') return false;
  return std::none_of(name.begin(), name.end(),
                      [](char c) { return c == '/' || c == '\\' || c == '\0'; });
}

absl::Status NoTensor(std::string_view source, const std::string& name) {
  return absl::NotFoundError(fmt::format("{}: no tensor {}", source, Quoted(name)));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path) {
  CATENA_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  std::shared_ptr<SafetensorsFile> out(new SafetensorsFile);
  out->source_ = path;
  out->file_ = file;
  CATENA_RETURN_IF_ERROR(out->ParseHeader(file->bytes()));
  return out;
}

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::Parse(
    absl::Span<const uint8_t> bytes, std::string source) {
  std::shared_ptr<SafetensorsFile> out(new SafetensorsFile);
  out->source_ = std::move(source);
  CATENA_RETURN_IF_ERROR(out->ParseHeader(bytes));
  return out;
}

absl::Status SafetensorsFile::Corrupt(const std::string& name, std::string_view why) const {
  return absl::DataLossError(fmt::format("{}: tensor {} {}", source_, Quoted(name), why));
}

absl::Status SafetensorsFile::ParseHeader(absl::Span<const uint8_t> bytes) {
  if (bytes.size() < kLengthBytes) {
    return absl::DataLossError(
        fmt::format("{}: {} bytes are no safetensors file; fetch it again", source_, bytes.size()));
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  const uint64_t max_bytes =
      std::min<uint64_t>(bytes.size() - kLengthBytes, limits::kTensorsJson.max_bytes);
  if (header_bytes > max_bytes) {
    return absl::DataLossError(
        fmt::format("{}: claims a header of {} bytes, where at most {} can be; truncated or no "
                    "safetensors file, fetch it again",
                    source_, header_bytes, max_bytes));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes,
                              header_bytes);
  CATENA_ASSIGN_OR_RETURN(const json header, ParseJson(text, source_, limits::kTensorsJson));
  if (!header.is_object()) {
    return absl::DataLossError(fmt::format("{}: the header is not a JSON object", source_));
  }
  if (header.size() > limits::kMaxTensors) {
    return absl::DataLossError(fmt::format("{}: {} tensors, more than the limit of {}", source_,
                                           header.size(), limits::kMaxTensors));
  }
  const absl::Span<const uint8_t> data = bytes.subspan(kLengthBytes + header_bytes);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    CATENA_RETURN_IF_ERROR(AddTensor(name, entry, data));
  }
  return CheckApart();
}

absl::Status SafetensorsFile::AddTensor(const std::string& name, const json& entry,
                                        absl::Span<const uint8_t> data) {
  if (name.empty() || name.size() > limits::kMaxTensorNameBytes) {
    return Corrupt(name, "has a name of a length that is not allowed");
  }
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets") || !entry["dtype"].is_string()) {
    return Corrupt(name, "lacks \"dtype\", \"shape\" or \"data_offsets\"");
  }
  Tensor tensor;
  tensor.dtype = entry["dtype"].get<std::string>();
  std::vector<int64_t> offsets;
  if (!ReadSizes(entry["shape"], kMaxDims, &tensor.shape)) {
    return Corrupt(name, "has a \"shape\" that is not a short list of sizes");
  }
  if (!ReadSizes(entry["data_offsets"], 2, &offsets) || offsets.size() != 2 ||
      offsets[0] > offsets[1]) {
    return Corrupt(name, "has \"data_offsets\" that are not [begin, end]");
  }
  if (static_cast<uint64_t>(offsets[1]) > data.size()) {
    return Corrupt(name, fmt::format("ends at byte {} of {} bytes of data; the file is truncated, "
                                     "fetch it again",
                                     offsets[1], data.size()));
  }
  tensor.bytes = data.subspan(offsets[0], offsets[1] - offsets[0]);
  if (const ElementType* type = FindElementType(tensor.dtype); type != nullptr) {
    uint64_t size = type->bytes;
    bool overflow = false;
    for (int64_t d : tensor.shape) overflow |= __builtin_mul_overflow(size, uint64_t(d), &size);
    if (overflow || size != tensor.bytes.size()) {
      return Corrupt(name,
                     fmt::format("has {} bytes, not what its shape ({}) of {} needs",
                                 tensor.bytes.size(), fmt::join(tensor.shape, ", "), type->name));
    }
  }
  tensors_.emplace(name, std::move(tensor));
  return absl::OkStatus();
}

absl::Status SafetensorsFile::CheckApart() const {
  std::vector<const std::pair<const std::string, Tensor>*> order;
  for (const auto& named : tensors_) {
    if (!named.second.bytes.empty()) order.push_back(&named);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->second.bytes.data() < b->second.bytes.data();
  });
  for (size_t i = 1; i < order.size(); ++i) {
    const absl::Span<const uint8_t> before = order[i - 1]->second.bytes;
    if (order[i]->second.bytes.data() < before.data() + before.size()) {
      return Corrupt(order[i]->first, fmt::format("overlaps {}", Quoted(order[i - 1]->first)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorView> SafetensorsFile::Find(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) return NoTensor(source_, name);
  const Tensor& tensor = it->second;
  const ElementType* type = FindElementType(tensor.dtype);
  if (type == nullptr || !type->dtype.has_value()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: tensor {} is of dtype {}, which is not supported; use the checkpoint in "
                    "F32, F16 or BF16, or a GGUF file",
                    source_, Quoted(name), Quoted(tensor.dtype)));
  }
  if (tensor.shape.size() > 2) {
    return Corrupt(name, fmt::format("has the shape ({}) where a matrix or a vector is wanted",
                                     fmt::join(tensor.shape, ", ")));
  }
  TensorView view;
  view.name = name;
  view.dtype = *type->dtype;
  view.rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
  view.cols = tensor.shape.empty() ? 1 : tensor.shape.back();
  view.bytes = tensor.bytes;
  view.owner = file_;
  return view;
}

absl::StatusOr<StoredTensor> SafetensorsFile::FindRaw(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) return NoTensor(source_, name);
  const Tensor& t = it->second;
  return StoredTensor{
      .name = name, .type = t.dtype, .shape = t.shape, .bytes = t.bytes, .owner = file_};
}

std::vector<std::string> SafetensorsFile::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  return names;
}

void SafetensorsFile::Release(const TensorView& view) const {
  if (file_ != nullptr) file_->Release(view.bytes);
}

absl::StatusOr<std::shared_ptr<const ShardedSafetensors>> ShardedSafetensors::Open(
    const std::string& index_path) {
  CATENA_ASSIGN_OR_RETURN(const json index, ReadJsonFile(index_path, limits::kTensorsJson));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return absl::DataLossError(fmt::format("{}: lacks a \"weight_map\" object", index_path));
  }
  std::shared_ptr<ShardedSafetensors> out(new ShardedSafetensors);
  out->source_ = index_path;
  CATENA_RETURN_IF_ERROR(out->Place(index["weight_map"]));
  CATENA_RETURN_IF_ERROR(out->OpenShards());
  return out;
}

absl::Status ShardedSafetensors::Place(const json& weight_map) {
  const auto corrupt = [&](std::string_view why) {
    return absl::DataLossError(fmt::format("{}: {}", source_, why));
  };
  if (weight_map.size() > limits::kMaxTensors) {
    return corrupt(fmt::format("{} tensors, more than the limit of {}", weight_map.size(),
                               limits::kMaxTensors));
  }
  for (const auto& [name, file] : weight_map.items()) {
    if (!file.is_string() || !IsPlainFileName(file.get_ref<const std::string&>())) {
      return corrupt(
          fmt::format("places tensor {} in {}, which is not a plain file name", Quoted(name),
                      Quoted(file.is_string() ? file.get<std::string>() : file.type_name())));
    }
    shards_.emplace(file.get<std::string>(), absl::UnknownError("not opened"));
    if (shards_.size() > limits::kMaxShards) {
      return corrupt(fmt::format("names more than {} files", limits::kMaxShards));
    }
    file_of_.emplace(name, file.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status ShardedSafetensors::OpenShards() {
  const std::filesystem::path folder = std::filesystem::path(source_).parent_path();
  absl::Status first_error;
  bool any = shards_.empty();
  for (auto& [file, shard] : shards_) {
    shard = SafetensorsFile::Open((folder / file).string());
    if (!shard.ok()) {
      const std::string_view advice = absl::IsNotFound(shard.status()) ? "; fetch it" : "";
      shard =
          absl::Status(shard.status().code(),
                       fmt::format("{} (named by {}){}", Message(shard.status()), source_, advice));
      if (first_error.ok()) first_error = shard.status();
      continue;
    }
    any = true;
    for (const std::string& name : (*shard)->Names()) holder_of_.emplace(name, shard->get());
  }
  // Of several that hold a tensor, the one that the index names.
  for (const auto& [name, file] : file_of_) {
    const auto& shard = shards_.at(file);
    if (shard.ok() && (*shard)->Has(name)) holder_of_[name] = shard->get();
  }
  return any ? absl::OkStatus() : first_error;
}

absl::StatusOr<TensorView> ShardedSafetensors::Find(const std::string& name) const {
  CATENA_ASSIGN_OR_RETURN(const SafetensorsFile* holder, HolderOf(name));
  return holder->Find(name);
}

absl::StatusOr<StoredTensor> ShardedSafetensors::FindRaw(const std::string& name) const {
  CATENA_ASSIGN_OR_RETURN(const SafetensorsFile* holder, HolderOf(name));
  return holder->FindRaw(name);
}

absl::StatusOr<const SafetensorsFile*> ShardedSafetensors::HolderOf(const std::string& name) const {
  if (const auto holder = holder_of_.find(name); holder != holder_of_.end()) return holder->second;
  const auto file = file_of_.find(name);
  if (file == file_of_.end()) return NoTensor(source_, name);
  const auto& shard = shards_.at(file->second);
  if (!shard.ok()) {
    return absl::DataLossError(
        fmt::format("tensor {} is not here: {}", Quoted(name), Message(shard.status())));
  }
  return absl::NotFoundError(fmt::format("{}: places tensor {} in {}, which does not hold it",
                                         source_, Quoted(name), Quoted(file->second)));
}

std::vector<std::string> ShardedSafetensors::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, shard] : holder_of_) names.push_back(name);
  return names;
}

void ShardedSafetensors::Release(const TensorView& view) const {
  const auto it = holder_of_.find(view.name);
  if (it != holder_of_.end()) it->second->Release(view);
}

absl::StatusOr<std::shared_ptr<const SafetensorsSource>> OpenSafetensorsFolder(
    const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const std::string single = (fs::path(folder) / "model.safetensors").string();
  if (fs::exists(single, ignored)) return SafetensorsFile::Open(single);
  const std::string index = single + ".index.json";
  if (fs::exists(index, ignored)) return ShardedSafetensors::Open(index);
  for (fs::directory_iterator it(folder, ignored), end; it != end; it.increment(ignored)) {
    if (it->path().extension() != ".bin" && it->path().extension() != ".pth") continue;
    return absl::NotFoundError(
        fmt::format("{}: has PyTorch weights ({}) only, which can run code when they are read; "
                    "convert them to safetensors (save_pretrained(..., safe_serialization=True))",
                    folder, Quoted(it->path().filename().string())));
  }
  return absl::NotFoundError(fmt::format(
      "{}: no model.safetensors and no model.safetensors.index.json; fetch the weights, or make "
      "some with --weights random:SEED",
      folder));
}

}  // namespace catena
