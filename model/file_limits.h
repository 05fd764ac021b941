// How large a file that is read whole may be, by its kind, and how much memory its JSON may become:
// all readers take their limit from here. Each is several times what the largest published file of
// the kind has. JSON in memory is far larger than its text ("[[],[],…" 20 times), so it has a limit
// of its own; ordinary files need 3 to 6 times theirs.
#pragma once

#include <cstdint>

#include "model/json.h"

namespace catena::limits {

inline constexpr uint64_t kMiB = uint64_t{1} << 20;

// config.json, generation_config.json: 1 to 20 KB; those of multimodal models with labels 200 KB.
inline constexpr JsonLimits kConfigJson = {
    .max_bytes = kMiB, .max_depth = 64, .max_memory = 16 * kMiB};
// tokenizer_config.json, special_tokens_map.json, added_tokens.json: Gemma 3's lists 6,000 added
// tokens in 1.2 MB.
inline constexpr JsonLimits kTokenizerConfigJson = {
    .max_bytes = 8 * kMiB, .max_depth = 64, .max_memory = 64 * kMiB};
// tokenizer.json: Gemma 3's has 262,144 tokens and 514,906 merges in 33 MB, 150 MB in memory.
inline constexpr JsonLimits kTokenizerJson = {
    .max_bytes = 64 * kMiB, .max_depth = 64, .max_memory = 384 * kMiB};
// model.safetensors.index.json, and the header of a safetensors file: kMaxTensors entries.
inline constexpr JsonLimits kTensorsJson = {
    .max_bytes = 16 * kMiB, .max_depth = 4, .max_memory = 128 * kMiB};
// {"tokens": [ids]} of perplexity: two million ids, more than any context.
inline constexpr JsonLimits kTokensJson = {
    .max_bytes = 16 * kMiB, .max_depth = 8, .max_memory = 64 * kMiB};
// A line of `tokenize`: a text and its escapes.
inline constexpr JsonLimits kRequestLine = {
    .max_bytes = 64 * kMiB, .max_depth = 16, .max_memory = 256 * kMiB};

inline constexpr uint64_t kChatTemplateBytes = kMiB;  // the largest published have 20 KB
inline constexpr uint64_t kPromptBytes = 64 * kMiB;   // of stdin: kMaxContext tokens of 4 bytes
inline constexpr uint64_t kKeysBytes = 4 * kMiB;      // the most and longest API keys, and notes
inline constexpr uint64_t kCertificateBytes = kMiB;   // of a PEM file; authorities' bundles: 250 KB

}  // namespace catena::limits
