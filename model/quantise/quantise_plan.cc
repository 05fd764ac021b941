#include "model/quantise/quantise_plan.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "model/quantise/folder_plan.h"

namespace catena {
namespace {

// What says how the old file lay on disk.
bool IsOfTheOldFile(std::string_view key) {
  return key.starts_with("split.") || key == "general.alignment";
}

absl::StatusOr<GgufMetadata> CopyMetadata(const std::string& path, const QuantiseFormat& format) {
  CATENA_ASSIGN_OR_RETURN(const auto file, GgufFile::Open(path));
  GgufMetadata metadata;
  for (const GgufFile::Entry& entry : file->Entries()) {
    if (!IsOfTheOldFile(entry.key)) metadata.Copy(entry);
  }
  SetFormat(format, &metadata);
  return metadata;
}

// The type whose blocks are shorter and that is as good: llama.cpp's choice.
DType NextType(DType type) {
  switch (type) {
    case DType::kQ2_K:
    case DType::kQ3_K:
    case DType::kIQ4_XS:
      return DType::kIQ4_NL;
    case DType::kQ4_K:
      return DType::kQ5_0;
    case DType::kQ5_K:
      return DType::kQ5_1;
    case DType::kQ6_K:
      return DType::kQ8_0;
    default:
      return DType::kF16;
  }
}

DType WantedType(DType format, bool gives_logits) {
  const bool own = !IsQuantised(format) || format == DType::kQ8_0;
  return gives_logits && !own ? DType::kQ6_K : format;
}

// 12 of "blk.12.attn_q.weight", -1 of what is of no block.
int64_t BlockOf(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  int64_t block = -1;
  if (name.starts_with(kPrefix)) {
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), block);
  }
  return block;
}

}  // namespace

void SetFormat(const QuantiseFormat& format, GgufMetadata* metadata) {
  constexpr uint32_t kQuantizationVersion = 2;  // ggml's GGML_QNT_VERSION: of today's layouts
  metadata->SetUint32("general.file_type", format.file_type);
  metadata->SetUint32("general.quantization_version", kQuantizationVersion);
}

const QuantiseFormat* FindQuantiseFormat(std::string_view name) {
  for (const QuantiseFormat& f : kQuantiseFormats) {
    if (Name(f.dtype) == name) return &f;
  }
  return nullptr;
}

DType TypeOfMatrix(DType format, bool gives_logits, int64_t cols) {
  DType type = WantedType(format, gives_logits);
  while (cols % Info(type).block_values != 0) type = NextType(type);
  return type;
}

PlannedTensor PlanTensor(const std::string& name, const TensorView& source, DType format,
                         bool gives_logits, DType vector_type) {
  PlannedTensor t{.info = {name, vector_type, source.rows, source.cols}, .source = source};
  if (source.rows != 1) {
    t.info.dtype = TypeOfMatrix(format, gives_logits, source.cols);
    t.fell_back = t.info.dtype != WantedType(format, gives_logits);
  }
  return t;
}

absl::StatusOr<QuantisePlan> PlanQuantise(const Checkpoint& checkpoint,
                                          const QuantiseFormat& format) {
  std::error_code ignored;
  if (std::filesystem::is_directory(checkpoint.path(), ignored)) {
    return PlanFolder(checkpoint, format);
  }
  QuantisePlan plan;
  CATENA_ASSIGN_OR_RETURN(plan.metadata, CopyMetadata(checkpoint.path(), format));
  CATENA_ASSIGN_OR_RETURN(const TensorView logits, checkpoint.LmHead());
  std::vector<std::string> names = checkpoint.tensors().Names();
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return std::pair(BlockOf(a), std::string_view(a)) < std::pair(BlockOf(b), std::string_view(b));
  });
  for (const std::string& name : names) {
    CATENA_ASSIGN_OR_RETURN(const TensorView source, checkpoint.tensors().Find(name));
    const DType vector_type = IsQuantised(source.dtype) ? DType::kF32 : source.dtype;
    plan.tensors.push_back(
        PlanTensor(name, source, format.dtype, name == logits.name, vector_type));
  }
  return plan;
}

}  // namespace catena
