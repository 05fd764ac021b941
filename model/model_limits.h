// The limits of what a model may be, in one place. Files and configs are hostile input: whoever
// parses one refuses what is over a limit before it allocates or multiplies. Each limit is several
// times what the largest published models of the architectures we run need, and small enough that
// products of sizes stay inside int64.
#pragma once

#include <cstdint>

namespace catena::limits {

// Sizes of a model (model/config.h).
inline constexpr int64_t kMaxVocab = int64_t{1} << 22;
inline constexpr int64_t kMaxHidden = int64_t{1} << 17;
inline constexpr int64_t kMaxIntermediate = int64_t{1} << 20;
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxHeads = 1024;
inline constexpr int64_t kMaxHeadDim = 1024;
inline constexpr int64_t kMaxContext = int64_t{1} << 24;
inline constexpr int64_t kMaxEosIds = 64;

// Numbers of the rotary embedding and of the norms.
inline constexpr double kMaxRopeTheta = 1e12;
inline constexpr double kMinRopeFactor = 1e-3, kMaxRopeFactor = 1e6;
inline constexpr double kMinNormEps = 1e-12, kMaxNormEps = 0.1;

// Multipliers of embeddings, residuals, scores and logits: quotients of two, their squares times an
// epsilon, stay inside float32.
inline constexpr double kMinMultiplier = 1e-6, kMaxMultiplier = 1e6;

// Containers of weights (model/weights/).
inline constexpr uint64_t kMaxTensors = uint64_t{1} << 16;
inline constexpr uint64_t kMaxTensorNameBytes = 512;
inline constexpr uint64_t kMaxMetadataKeys = uint64_t{1} << 16;
inline constexpr uint64_t kMaxMetadataKeyBytes = 65535;                // GGUF's own
inline constexpr uint64_t kMaxMetadataEntries = uint64_t{1} << 22;     // of one array: kMaxVocab
inline constexpr uint64_t kMaxMetadataValueBytes = uint64_t{1} << 27;  // Gemma 3's merges: 12 MB
inline constexpr uint64_t kMaxShards = 1024;

// Texts beside the weights; how large the files are that hold them says file_limits.h.
inline constexpr uint64_t kMaxSpecialTokenBytes = 4096;

}  // namespace catena::limits
