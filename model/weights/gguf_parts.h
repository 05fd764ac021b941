// A model in several GGUF files, NAME-00001-of-0000N.gguf to NAME-0000N-of-0000N.gguf, as
// llama-gguf-split writes it: the first has all metadata, each has tensors of its own.
//
// Thread rules: as GgufFile's.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/weights/gguf.h"

namespace catena {

// The tensors of the model whose first file is `first`: those of `first` where it is the only one.
// INVALID_ARGUMENT where it is another part than the first, NOT_FOUND where a part is missing,
// DATA_LOSS where parts do not belong together.
absl::StatusOr<std::shared_ptr<const TensorSource>> OpenGgufParts(
    std::shared_ptr<const GgufFile> first);

// How parts are named; `part` counts from 1.
std::string GgufPartName(std::string_view prefix, int64_t part, int64_t parts);

}  // namespace catena
