// How the rotary embedding of Llama and its descendants is scaled, in Hugging Face's and in GGUF's
// spelling: not at all, linear, llama3, yarn or dynamic. The last, dynamic NTK, is not at all: its
// base grows with every position past the context that the config names, which no text gets past
// here.
//
// Sources: transformers' modeling_rope_utils.py; llama.cpp's convert_hf_to_gguf.py, which bakes
// llama3's scaling into the tensor rope_freqs.weight, divisors of the frequencies.
#pragma once

#include "model/arch/decoder_config.h"

namespace catena {

// Sets rope_theta, rotary_dim (the whole head), rope_scaling and, with yarn, the context that it
// stretches to. INVALID_ARGUMENT that names what is wrong, or the kinds that are supported.
absl::Status ReadJsonRotary(const JsonFields& fields, ModelConfig* config,
                            double default_theta = 10000.0);

// The same of a GGUF file, whose ReadGgufDecoder has read rope_theta and rotary_dim.
absl::Status ReadGgufRotary(const GgufFields& fields, ModelConfig* config);

}  // namespace catena
