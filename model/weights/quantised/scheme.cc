#include "model/weights/quantised/scheme.h"

#include <algorithm>

#include "model/model_limits.h"

namespace catena {
namespace {

using nlohmann::json;

constexpr int64_t kMaxGroup = limits::kMaxIntermediate;
constexpr size_t kMaxGroupSizes = 16;  // more would only cost time
constexpr int64_t kFp8Block = 128;     // where the config states none

// An object of the config, with what its messages begin with.
class Part {
 public:
  Part(const json& object, const std::string& source) : object_(object), source_(source) {}

  const json& object() const { return object_; }

  absl::StatusOr<std::string> String(const char* key, std::string_view absent) const {
    CATENA_ASSIGN_OR_RETURN(const auto value, GetString(object_, key, source_));
    return value.value_or(std::string(absent));
  }
  absl::StatusOr<int64_t> Int(const char* key, int64_t absent) const {
    CATENA_ASSIGN_OR_RETURN(const auto value, GetInt(object_, key, source_));
    return value.value_or(absent);
  }
  absl::StatusOr<bool> Bool(const char* key, bool absent) const {
    CATENA_ASSIGN_OR_RETURN(const auto value, GetBool(object_, key, source_));
    return value.value_or(absent);
  }
  // Null where there is none, or an empty one.
  const json* Find(const char* key) const {
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() || it->empty() ? nullptr : &*it;
  }
  absl::StatusOr<const json*> Object(const char* key) const {
    const json* found = Find(key);
    if (found == nullptr || found->is_object()) return found;
    return absl::DataLossError(fmt::format("{}: \"{}\" must be an object", source_, key));
  }

  absl::Status Refuse(std::string_view what, std::string_view instead) const {
    return absl::InvalidArgumentError(
        fmt::format("{}: quantization_config: {} not supported; {}", source_, what, instead));
  }
  std::string Warning(std::string_view what) const { return fmt::format("{}: {}", source_, what); }

 private:
  const json& object_;
  const std::string& source_;
};

constexpr std::string_view kElse =
    "use the original weights, or a GGUF file made of them with catena quantise";

absl::Status ReadGroupSize(const Part& part, QuantScheme* scheme) {
  CATENA_ASSIGN_OR_RETURN(const int64_t size, part.Int("group_size", 0));
  if (size < -1 || size > kMaxGroup) {
    return part.Refuse(fmt::format("\"group_size\" {} is", size),
                       "sizes are -1 (all inputs) or 1 and more");
  }
  if (size != 0) scheme->group_sizes.push_back(std::max<int64_t>(size, 0));
  return absl::OkStatus();
}

absl::Status ReadAwq(const Part& part, QuantScheme* scheme) {
  scheme->layout = QuantScheme::Layout::kAwq;
  CATENA_ASSIGN_OR_RETURN(std::string version, part.String("version", "gemm"));
  std::transform(version.begin(), version.end(), version.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (version != "gemm") {
    return part.Refuse(fmt::format("AWQ's \"version\" {} is", Quoted(version)),
                       "only \"gemm\" is read");
  }
  CATENA_ASSIGN_OR_RETURN(int64_t bits, part.Int("bits", 0));
  if (bits == 0) {
    CATENA_ASSIGN_OR_RETURN(bits, part.Int("w_bit", 4));
  }
  if (bits != 4) {
    return part.Refuse(fmt::format("AWQ with \"bits\" {} is", bits), "only 4 bits are read");
  }
  scheme->bits = 4;
  CATENA_ASSIGN_OR_RETURN(const bool zero_point, part.Bool("zero_point", true));
  if (!zero_point) return part.Refuse("AWQ without \"zero_point\" is", kElse);
  return ReadGroupSize(part, scheme);
}

absl::Status ReadGptq(const Part& part, QuantScheme* scheme) {
  scheme->layout = QuantScheme::Layout::kGptq;
  CATENA_ASSIGN_OR_RETURN(const int64_t bits, part.Int("bits", 4));
  if (bits != 4 && bits != 8) {
    return part.Refuse(fmt::format("GPTQ with \"bits\" {} is", bits), "4 and 8 bits are read");
  }
  scheme->bits = static_cast<int>(bits);
  CATENA_ASSIGN_OR_RETURN(const std::string format, part.String("checkpoint_format", "gptq"));
  CATENA_ASSIGN_OR_RETURN(const bool marlin, part.Bool("is_marlin_format", false));
  if (marlin || (format != "gptq" && format != "gptq_v2")) {
    return part.Refuse(
        fmt::format("GPTQ's \"checkpoint_format\" {} is", marlin ? "\"marlin\"" : Quoted(format)),
        "\"gptq\" and \"gptq_v2\" are read");
  }
  scheme->zero_offset = format == "gptq" ? 1 : 0;
  if (part.Find("dynamic") != nullptr) {
    return part.Refuse("\"dynamic\" (GPTQ with another format in some layers) is", kElse);
  }
  return ReadGroupSize(part, scheme);
}

// [128, 128] under `key`.
absl::Status ReadBlock(const Part& part, const char* key, QuantScheme* scheme) {
  const json* block = part.Find(key);
  if (block == nullptr) return absl::OkStatus();
  std::vector<int64_t> sizes;
  for (const json& size : block->is_array() ? *block : json::array()) {
    sizes.push_back(AsInt(size).value_or(0));
  }
  const auto fits = [](int64_t n) { return n >= 1 && n <= kMaxGroup; };
  if (sizes.size() != 2 || !fits(sizes[0]) || !fits(sizes[1])) {
    return part.Refuse(fmt::format("this \"{}\" is", key), "it must be [rows, columns]");
  }
  if (scheme->block_rows != 0 &&
      (scheme->block_rows != sizes[0] || scheme->block_cols != sizes[1])) {
    return part.Refuse(fmt::format("more than one \"{}\" is", key), kElse);
  }
  scheme->block_rows = sizes[0];
  scheme->block_cols = sizes[1];
  return absl::OkStatus();
}

void WarnOfFp8(const Part& part, QuantScheme* scheme) {
  scheme->warnings.push_back(
      part.Warning("weights of 8-bit floats (E4M3) are held as bf16, which is twice the bytes, "
                   "each rounded once"));
}

void WarnOfStatic(const Part& part, QuantScheme* scheme) {
  scheme->warnings.push_back(
      part.Warning("the stated (static) scales of activations are not used: activations have their "
                   "own precision here, see --activations"));
}

absl::Status ReadFp8(const Part& part, QuantScheme* scheme) {
  scheme->layout = QuantScheme::Layout::kFp8;
  CATENA_ASSIGN_OR_RETURN(const std::string format, part.String("fmt", "e4m3"));
  if (format != "e4m3") {
    return part.Refuse(fmt::format("FP8 with \"fmt\" {} is", Quoted(format)),
                       "only \"e4m3\" is read");
  }
  WarnOfFp8(part, scheme);
  CATENA_ASSIGN_OR_RETURN(const std::string activations, part.String("activation_scheme", ""));
  if (activations == "static") WarnOfStatic(part, scheme);
  CATENA_RETURN_IF_ERROR(ReadBlock(part, "weight_block_size", scheme));
  if (scheme->block_rows == 0) scheme->block_rows = scheme->block_cols = kFp8Block;
  return absl::OkStatus();
}

absl::Status CheckFormat(const Part& part, const std::string& format) {
  for (const char* known : {"pack-quantized", "int-quantized", "naive-quantized", "float-quantized",
                            "mixed-precision", "dense", ""}) {
    if (format == known) return absl::OkStatus();
  }
  return part.Refuse(fmt::format("the \"format\" {} of compressed-tensors is", Quoted(format)),
                     "\"pack-quantized\", \"int-quantized\", \"naive-quantized\" and "
                     "\"float-quantized\" are read");
}

// Which weights of a group of layers share a scale. A strategy that is left out follows from the
// size, as in quant_args.py; of a channel and of a tensor the scales' shape tells which it is.
absl::Status ReadStrategy(const Part& weights, QuantScheme* scheme) {
  CATENA_RETURN_IF_ERROR(ReadBlock(weights, "block_structure", scheme));
  CATENA_ASSIGN_OR_RETURN(std::string strategy, weights.String("strategy", ""));
  if (strategy.empty()) {
    CATENA_ASSIGN_OR_RETURN(const int64_t size, weights.Int("group_size", 0));
    const bool blocks = weights.Find("block_structure") != nullptr;
    strategy = size != 0 ? "group" : blocks ? "block" : "tensor";
  }
  if (strategy == "block") return absl::OkStatus();
  std::vector<int64_t>& sizes = scheme->group_sizes;
  if (strategy == "tensor" || strategy == "channel") {
    sizes.push_back(0);
  } else if (strategy == "group") {
    const size_t before = sizes.size();
    CATENA_RETURN_IF_ERROR(ReadGroupSize(weights, scheme));
    if (sizes.size() == before) {
      return weights.Refuse("groups with \"group_size\" 0 are", "sizes are -1 or 1 and more");
    }
  } else {
    return weights.Refuse(fmt::format("the \"strategy\" {} of weights is", Quoted(strategy)),
                          "tensor, channel, group and block are read");
  }
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  if (sizes.size() <= kMaxGroupSizes) return absl::OkStatus();
  return weights.Refuse(fmt::format("more than {} sizes of groups are", kMaxGroupSizes), kElse);
}

// How one group of layers is quantised.
absl::Status ReadGroup(const Part& part, const json& group, const std::string& source,
                       QuantScheme* scheme) {
  if (!group.is_object()) return part.Refuse("this entry of \"config_groups\" is", kElse);
  const Part own(group, source);
  CATENA_ASSIGN_OR_RETURN(const std::string format, own.String("format", ""));
  CATENA_RETURN_IF_ERROR(CheckFormat(part, format));
  CATENA_ASSIGN_OR_RETURN(const json* weights, own.Object("weights"));
  if (weights == nullptr) return absl::OkStatus();
  const Part w(*weights, source);
  CATENA_ASSIGN_OR_RETURN(const int64_t bits, w.Int("num_bits", 8));
  CATENA_ASSIGN_OR_RETURN(const std::string type, w.String("type", "int"));
  const bool is_int = type == "int" && (bits == 4 || bits == 8);
  if (!is_int && !(type == "float" && bits == 8)) {
    return part.Refuse(fmt::format("weights of {} bits of the type {} are", bits, Quoted(type)),
                       "integers of 4 and 8 bits and floats of 8 are read");
  }
  CATENA_RETURN_IF_ERROR(ReadStrategy(w, scheme));
  if (!is_int) WarnOfFp8(part, scheme);
  CATENA_ASSIGN_OR_RETURN(const json* inputs, own.Object("input_activations"));
  if (inputs == nullptr) return absl::OkStatus();
  const auto dynamic = inputs->find("dynamic");  // true, false or "local"
  if (dynamic == inputs->end() || *dynamic == false) WarnOfStatic(part, scheme);
  return absl::OkStatus();
}

absl::Status ReadCompressed(const Part& part, const std::string& source, QuantScheme* scheme) {
  scheme->layout = QuantScheme::Layout::kCompressed;
  CATENA_ASSIGN_OR_RETURN(const std::string format, part.String("format", ""));
  CATENA_RETURN_IF_ERROR(CheckFormat(part, format));
  CATENA_ASSIGN_OR_RETURN(const json* sparsity, part.Object("sparsity_config"));
  if (sparsity != nullptr) {
    CATENA_ASSIGN_OR_RETURN(const std::string sparse,
                            Part(*sparsity, source).String("format", "dense"));
    if (sparse != "dense") {
      return part.Refuse(fmt::format("sparsity compressed as {} is", Quoted(sparse)),
                         "dense weights are read");
    }
  }
  if (part.Find("transform_config") != nullptr) {
    return part.Refuse("\"transform_config\" (rotations of activations) is", kElse);
  }
  CATENA_ASSIGN_OR_RETURN(const json* groups, part.Object("config_groups"));
  if (groups == nullptr) return absl::OkStatus();
  for (const auto& [name, group] : groups->items()) {
    CATENA_RETURN_IF_ERROR(ReadGroup(part, group, source, scheme));
  }
  std::vector<std::string>& w = scheme->warnings;
  std::sort(w.begin(), w.end());
  w.erase(std::unique(w.begin(), w.end()), w.end());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<QuantScheme>> ReadQuantScheme(const json& config,
                                                           const std::string& source) {
  const Part whole(config, source);
  CATENA_ASSIGN_OR_RETURN(const json* object, whole.Object("quantization_config"));
  if (object == nullptr) {
    CATENA_ASSIGN_OR_RETURN(object, whole.Object("compression_config"));
  }
  if (object == nullptr) return std::nullopt;
  const Part part(*object, source);
  QuantScheme scheme;
  CATENA_ASSIGN_OR_RETURN(scheme.name, part.String("quant_method", ""));
  absl::Status read;
  if (scheme.name == "awq") {
    read = ReadAwq(part, &scheme);
  } else if (scheme.name == "gptq") {
    read = ReadGptq(part, &scheme);
  } else if (scheme.name == "compressed-tensors") {
    read = ReadCompressed(part, source, &scheme);
  } else if (scheme.name == "fp8" || scheme.name == "fbgemm_fp8") {
    read = ReadFp8(part, &scheme);
  } else {
    read = part.Refuse(fmt::format("the \"quant_method\" {} is", Quoted(scheme.name)),
                       "awq, gptq, compressed-tensors and fp8 are read, and GGUF files");
  }
  CATENA_RETURN_IF_ERROR(read);
  return scheme;
}

}  // namespace catena
