// What a model becomes when it is quantised: a GGUF file's metadata, and each tensor's type.
//
// The types are llama.cpp's for a file of one format (llama_tensor_get_type of its quantiser):
// vectors stay floats, matrices get the format, and the matrix that gives the logits, the
// embedding's where the two are one, gets q6_k unless the format is q8_0 or no quantised one. Rows
// that are not whole blocks of a type get the next type whose blocks they are.
//
// Thread rules: functions without state.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/checkpoint.h"
#include "model/weights/gguf_header.h"

namespace catena {

struct QuantiseFormat {
  DType dtype;
  uint32_t file_type;  // llama.cpp's number (enum llama_ftype), which general.file_type holds
};
inline constexpr QuantiseFormat kQuantiseFormats[] = {
    {DType::kQ2_K, 10}, {DType::kQ3_K, 11}, {DType::kIQ4_XS, 30}, {DType::kIQ4_NL, 25},
    {DType::kQ4_0, 2},  {DType::kQ4_1, 3},  {DType::kQ4_K, 14},   {DType::kQ5_0, 8},
    {DType::kQ5_1, 9},  {DType::kQ5_K, 16}, {DType::kQ6_K, 18},   {DType::kQ8_0, 7},
    {DType::kF16, 1},   {DType::kBF16, 32}, {DType::kF32, 0}};

// Null where none has this name.
const QuantiseFormat* FindQuantiseFormat(std::string_view name);

// Says in a file's metadata which format it is of.
void SetFormat(const QuantiseFormat& format, GgufMetadata* metadata);

// The type of a matrix with rows of `cols` values. `gives_logits`: see above.
DType TypeOfMatrix(DType format, bool gives_logits, int64_t cols);

struct PlannedTensor {
  GgufTensorInfo info;
  TensorView source;       // as many rows and columns; without bytes: the file is asked again
  bool fell_back = false;  // its rows are not whole blocks of what it should have
  bool made = false;       // the source is the plan's own, of no file
  // Where it is not 0, rows are to be stored as rotary pairs (TensorView::interleaved_head_dim).
  int interleaved_head_dim = 0;
};

// `source` under the name that the new file gives it, in its type there: `vector_type`, where it is
// no matrix.
PlannedTensor PlanTensor(const std::string& name, const TensorView& source, DType format,
                         bool gives_logits, DType vector_type);

struct QuantisePlan {
  GgufMetadata metadata;
  std::vector<PlannedTensor> tensors;  // what is of no block first, then block by block
  std::vector<std::string> warnings;   // a line each, for the user
};

// Of a model in GGUF, whose metadata are copied, or of a Hugging Face folder, of which a GGUF file
// says the same. INVALID_ARGUMENT that names what it cannot say; INVALID_ARGUMENT or DATA_LOSS that
// names the tensor that cannot be read.
absl::StatusOr<QuantisePlan> PlanQuantise(const Checkpoint& checkpoint,
                                          const QuantiseFormat& format);

}  // namespace catena
