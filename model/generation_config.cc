#include "model/generation_config.h"

#include <algorithm>

#include "model/arch/decoder_config.h"
#include "model/file_limits.h"

namespace catena {
namespace {

// A number in [min, max], or nothing.
absl::Status ReadOptional(const Fields& fields, const char* key, double min, double max,
                          std::optional<double>* out) {
  CATENA_ASSIGN_OR_RETURN(const auto value, fields.FindDouble(key));
  if (!value.has_value()) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(*out, fields.Double(key, min, max));
  return absl::OkStatus();
}

// The sampling settings by name; those of GGUF differ from Hugging Face's.
struct SamplingKeys {
  const char *temperature, *top_k, *top_p, *min_p, *typical_p, *repetition_penalty;
};
constexpr SamplingKeys kJsonSampling = {"temperature", "top_k",     "top_p",
                                        "min_p",       "typical_p", "repetition_penalty"};
constexpr SamplingKeys kGgufSampling = {"temp",  "top_k",     "top_p",
                                        "min_p", "typical_p", "penalty_repeat"};

absl::Status ReadSampling(const Fields& fields, const SamplingKeys& keys, GenerationConfig* g) {
  CATENA_RETURN_IF_ERROR(ReadOptional(fields, keys.temperature, 0, 1e6, &g->temperature));
  CATENA_RETURN_IF_ERROR(ReadOptional(fields, keys.top_p, 0, 1, &g->top_p));
  CATENA_RETURN_IF_ERROR(ReadOptional(fields, keys.min_p, 0, 1, &g->min_p));
  CATENA_RETURN_IF_ERROR(ReadOptional(fields, keys.typical_p, 0, 1, &g->typical_p));
  CATENA_RETURN_IF_ERROR(
      ReadOptional(fields, keys.repetition_penalty, 1e-3, 1e3, &g->repetition_penalty));
  CATENA_ASSIGN_OR_RETURN(const auto top_k, fields.FindInt(keys.top_k));
  if (top_k.has_value()) {
    CATENA_ASSIGN_OR_RETURN(g->top_k, fields.Int(keys.top_k, -1, INT32_MAX));
  }
  return absl::OkStatus();
}

}  // namespace

void AddId(int32_t id, std::vector<int32_t>* ids) {
  if (std::find(ids->begin(), ids->end(), id) == ids->end()) ids->push_back(id);
}

absl::StatusOr<GenerationConfig> ReadGenerationConfig(const std::string& path,
                                                      const ModelConfig& config,
                                                      std::vector<std::string>* warnings) {
  GenerationConfig g;
  g.eos_ids = config.eos_ids;
  auto text = ReadJsonFile(path, limits::kConfigJson);
  if (absl::IsNotFound(text.status())) return g;
  if (!text.ok()) return text.status();
  if (!text->is_object()) return absl::DataLossError(fmt::format("{}: not a JSON object", path));
  const JsonFields fields(*text, path);
  CATENA_ASSIGN_OR_RETURN(const auto do_sample, fields.FindBool("do_sample"));
  g.do_sample = do_sample.value_or(false);
  CATENA_RETURN_IF_ERROR(ReadSampling(fields, kJsonSampling, &g));
  CATENA_ASSIGN_OR_RETURN(const auto ids,
                          ReadTokenIds(fields, "eos_token_id", config.vocab_size, warnings));
  for (const int32_t id : ids) AddId(id, &g.eos_ids);
  return g;
}

absl::StatusOr<GenerationConfig> ReadGenerationConfig(const GgufFile& file,
                                                      const ModelConfig& config,
                                                      std::vector<std::string>* warnings) {
  GenerationConfig g;
  g.eos_ids = config.eos_ids;
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    CATENA_ASSIGN_OR_RETURN(const int32_t id,
                            ReadGgufTokenId(file, key, config.vocab_size, warnings));
    if (id >= 0) AddId(id, &g.eos_ids);
  }
  CATENA_RETURN_IF_ERROR(ReadSampling(GgufFields(file, "general.sampling"), kGgufSampling, &g));
  g.do_sample = g.temperature.value_or(0) > 0;
  return g;
}

}  // namespace catena
