#include "model/weights/quantised/quantised_weights.h"

#include <algorithm>
#include <functional>
#include <optional>

#include <fmt/ranges.h>

#include "model/weights/quantised/module_reader.h"

namespace catena {
namespace {

constexpr std::string_view kWeight = ".weight", kBias = ".bias";

// `name` without `ending`, where it has it.
std::optional<std::string> Without(const std::string& name, std::string_view ending) {
  if (!name.ends_with(ending)) return std::nullopt;
  return name.substr(0, name.size() - ending.size());
}

// What a quantised weight's parts are called beside ".weight".
constexpr std::string_view kCodes[] = {".qweight", ".weight_packed"};
constexpr std::string_view kParts[] = {".qzeros",           ".scales",           ".g_idx",
                                       ".weight_shape",     ".weight_scale",     ".weight_g_idx",
                                       ".weight_scale_inv", ".weight_zero_point"};

// Whether all values are 0 or, of floats, -0.
bool IsZeros(const StoredTensor& t) {
  const size_t size = t.type == "F32" ? 4 : t.type == "F16" || t.type == "BF16" ? 2 : 0;
  for (size_t i = 0; i < t.bytes.size(); ++i) {
    const bool has_sign = size != 0 && i % size == size - 1;
    if ((t.bytes[i] & (has_sign ? 0x7f : 0xff)) != 0) return false;
  }
  return true;
}

// A weight that is not quantised. Of one whose shard is missing an index knows the parts, so that
// the error is theirs, which names the shard.
absl::StatusOr<TensorView> FindPlain(const SafetensorsSource& file, const std::string& module,
                                     const std::string& name) {
  auto view = file.Find(name);
  if (!absl::IsNotFound(view.status())) return view;
  for (const std::string_view codes : kCodes) {
    const auto part = file.FindRaw(module + std::string(codes));
    if (!part.ok() && !absl::IsNotFound(part.status())) return part.status();
  }
  return view;
}

}  // namespace

absl::StatusOr<TensorView> QuantisedWeights::Find(const std::string& name) const {
  const auto module = Without(name, kWeight);
  if (!module) return file_->Find(name);
  if (!IsQuantisedModule(*file_, scheme_, *module)) return FindPlain(*file_, *module, name);
  ModuleReader reader(*file_, scheme_, *module, path_);
  CATENA_ASSIGN_OR_RETURN(const QuantMatrix matrix, reader.Read());
  auto view = Convert(matrix);
  for (const StoredTensor& t : reader.used()) {
    file_->Release({.name = t.name, .bytes = t.bytes, .owner = nullptr});
  }
  return view.ok() ? std::move(view) : Annotate(view.status(), path_);
}

bool QuantisedWeights::Has(const std::string& name) const {
  if (const auto module = Without(name, kWeight)) {
    return file_->Has(name) || IsQuantisedModule(*file_, scheme_, *module);
  }
  const auto module = Without(name, kBias);
  if (!module || !IsQuantisedModule(*file_, scheme_, *module)) return file_->Has(name);
  const auto bias = file_->FindRaw(name);
  return bias.ok() && !IsZeros(*bias);
}

std::vector<std::string> QuantisedWeights::Names() const {
  std::vector<std::string> names;
  for (std::string& name : file_->Names()) {
    const auto is_one = [&](std::string_view part) { return name.ends_with(part); };
    if (std::any_of(std::begin(kParts), std::end(kParts), is_one)) continue;
    for (const std::string_view codes : kCodes) {
      if (const auto module = Without(name, codes)) name = *module + std::string(kWeight);
    }
    names.push_back(std::move(name));
  }
  return names;
}

// A view that was made has nothing of the file.
void QuantisedWeights::Release(const TensorView& view) const {
  const auto stored = file_->FindRaw(view.name);
  if (!stored.ok()) return;
  const std::less_equal<const uint8_t*> before;
  const absl::Span<const uint8_t> all = stored->bytes, part = view.bytes;
  if (before(all.data(), part.data()) &&
      before(part.data() + part.size(), all.data() + all.size())) {
    file_->Release(view);
  }
}

absl::StatusOr<StoredTensor> QuantisedWeights::FindStored(const std::string& name) const {
  CATENA_ASSIGN_OR_RETURN(StoredTensor t, file_->FindRaw(name));
  // The same bytes are other values where zero points are stored another way, or where groups or
  // blocks have other sizes.
  t.type = fmt::format("{} {} {} {} {}x{} {}", scheme_.name, scheme_.bits, scheme_.zero_offset,
                       fmt::join(scheme_.group_sizes, ","), scheme_.block_rows, scheme_.block_cols,
                       t.type);
  return t;
}

absl::Status CheckNotQuantised(const TensorSource& file, const std::string& path) {
  for (const std::string& name : file.Names()) {
    for (const std::string_view codes : kCodes) {
      if (!name.ends_with(codes)) continue;
      return absl::InvalidArgumentError(
          fmt::format("{}: tensor {} is of a quantised weight, but config.json has no "
                      "\"quantization_config\", which says how; add the one of the model's "
                      "quantize_config.json or quant_config.json",
                      path, Quoted(name)));
    }
  }
  return absl::OkStatus();
}

}  // namespace catena
