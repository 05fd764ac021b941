#include "model/side_files.h"

#include <algorithm>
#include <filesystem>

#include "model/arch/decoder_config.h"
#include "model/model_limits.h"
#include "model/weights/mapped_file.h"

namespace catena {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int32_t kControlToken = 3, kUserToken = 4;  // GgufVocabulary::types

void AddId(int32_t id, std::vector<int32_t>* ids) {
  if (std::find(ids->begin(), ids->end(), id) == ids->end()) ids->push_back(id);
}

absl::Status TooLong(std::string_view source, std::string_view what, uint64_t max_bytes) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is longer than {} bytes", source, what, max_bytes));
}

// A number of generation_config.json in [min, max], or nothing.
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
    CATENA_ASSIGN_OR_RETURN(g->top_k, fields.Int(keys.top_k, 0, INT32_MAX));
  }
  return absl::OkStatus();
}

absl::Status ReadGenerationConfig(const std::string& path, const ModelConfig& config,
                                  GenerationConfig* g) {
  g->eos_ids = config.eos_ids;
  auto text = ReadJsonFile(path);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  if (!text->is_object()) return absl::DataLossError(fmt::format("{}: not a JSON object", path));
  const JsonFields fields(*text, path);
  CATENA_ASSIGN_OR_RETURN(const auto do_sample, fields.FindBool("do_sample"));
  g->do_sample = do_sample.value_or(false);
  CATENA_RETURN_IF_ERROR(ReadSampling(fields, kJsonSampling, g));
  CATENA_ASSIGN_OR_RETURN(const auto ids, ReadTokenIds(fields, "eos_token_id", config.vocab_size));
  for (const int32_t id : ids) AddId(id, &g->eos_ids);
  return absl::OkStatus();
}

// A special token: its text, or an object whose "content" is the text.
absl::Status ReadSpecialToken(const JsonFields& fields, const char* key, std::string* out) {
  const auto it = fields.object().find(key);
  if (it == fields.object().end() || it->is_null()) return absl::OkStatus();
  const bool wrapped = it->is_object() && it->contains("content");
  const json& text = wrapped ? (*it)["content"] : *it;
  if (!text.is_string()) {
    return absl::DataLossError(fmt::format("{}: \"{}\" must be a string", fields.source(), key));
  }
  *out = text.get<std::string>();
  if (out->size() <= limits::kMaxSpecialTokenBytes) return absl::OkStatus();
  return TooLong(fields.source(), key, limits::kMaxSpecialTokenBytes);
}

// "chat_template": a text, or a list of {name, template} of which "default" is meant.
absl::Status ReadChatTemplate(const JsonFields& fields, std::string* out) {
  const auto it = fields.object().find("chat_template");
  if (it == fields.object().end() || it->is_null()) return absl::OkStatus();
  const json* text = &*it;
  if (it->is_array()) {
    text = nullptr;
    for (const json& named : *it) {
      if (named.is_object() && named.value("name", json()) == json("default") &&
          named.contains("template")) {
        text = &named["template"];
      }
    }
    if (text == nullptr) return absl::OkStatus();
  }
  if (!text->is_string()) {
    return absl::DataLossError(fmt::format(
        "{}: \"chat_template\" must be a string or a list of {{name, template}}", fields.source()));
  }
  *out = text->get<std::string>();
  if (out->size() <= limits::kMaxChatTemplateBytes) return absl::OkStatus();
  return TooLong(fields.source(), "\"chat_template\"", limits::kMaxChatTemplateBytes);
}

absl::Status ReadTokenizerConfig(const std::string& path, SideFiles* side) {
  auto text = ReadJsonFile(path);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  if (!text->is_object()) return absl::DataLossError(fmt::format("{}: not a JSON object", path));
  const JsonFields fields(*text, path);
  CATENA_RETURN_IF_ERROR(ReadSpecialToken(fields, "bos_token", &side->bos_token));
  CATENA_RETURN_IF_ERROR(ReadSpecialToken(fields, "eos_token", &side->eos_token));
  return ReadChatTemplate(fields, &side->chat_template);
}

// chat_template.jinja, which wins over tokenizer_config.json's.
absl::Status ReadTemplateFile(const std::string& path, std::string* out) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return absl::OkStatus();
  CATENA_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  const absl::Span<const uint8_t> bytes = file->bytes();
  if (bytes.size() > limits::kMaxChatTemplateBytes) {
    return TooLong(path, "the chat template", limits::kMaxChatTemplateBytes);
  }
  out->assign(bytes.begin(), bytes.end());
  return absl::OkStatus();
}

absl::Status BadVocabulary(const GgufFile& file, std::string_view why) {
  return absl::DataLossError(fmt::format("{}: {}", file.source(), why));
}

// The copied-out vocabulary, once its arrays agree with one another and with the config.
absl::Status CheckVocabulary(const GgufFile& file, const GgufVocabulary& v,
                             const ModelConfig& config) {
  const size_t n = v.tokens.size();
  if (static_cast<int64_t>(n) > config.vocab_size) {
    return BadVocabulary(file,
                         fmt::format("{} tokens in a vocabulary of {}", n, config.vocab_size));
  }
  if (!v.scores.empty() && v.scores.size() != n) {
    return BadVocabulary(file, fmt::format("\"tokenizer.ggml.scores\" has {} entries for {} tokens",
                                           v.scores.size(), n));
  }
  if (!v.types.empty() && v.types.size() != n) {
    return BadVocabulary(file, fmt::format("\"tokenizer.ggml.token_type\" has {} entries for {} "
                                           "tokens",
                                           v.types.size(), n));
  }
  for (const auto& [name, id] :
       {std::pair{"bos", v.bos_id}, {"eos", v.eos_id}, {"unk", v.unk_id}}) {
    if (id >= 0 && static_cast<size_t>(id) >= n) {
      return BadVocabulary(file, fmt::format("the {} token's id {} is not below {}", name, id, n));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<GgufVocabulary>> ReadVocabulary(const GgufFile& file,
                                                             const ModelConfig& config) {
  GgufVocabulary v;
  CATENA_ASSIGN_OR_RETURN(auto model, file.GetString("tokenizer.ggml.model"));
  CATENA_ASSIGN_OR_RETURN(auto tokens, file.GetStrings("tokenizer.ggml.tokens"));
  if (!model.has_value() || !tokens.has_value()) return std::nullopt;
  v.model = *std::move(model);
  v.tokens = *std::move(tokens);
  CATENA_ASSIGN_OR_RETURN(auto pre, file.GetString("tokenizer.ggml.pre"));
  v.pre = std::move(pre).value_or("");
  CATENA_ASSIGN_OR_RETURN(auto scores, file.GetFloats("tokenizer.ggml.scores"));
  v.scores = std::move(scores).value_or(std::vector<float>());
  CATENA_ASSIGN_OR_RETURN(auto types, file.GetInt32s("tokenizer.ggml.token_type"));
  v.types = std::move(types).value_or(std::vector<int32_t>());
  CATENA_ASSIGN_OR_RETURN(auto merges, file.GetStrings("tokenizer.ggml.merges"));
  v.merges = std::move(merges).value_or(std::vector<std::string>());
  v.bos_id = config.bos_id;
  if (!config.eos_ids.empty()) v.eos_id = config.eos_ids[0];
  CATENA_ASSIGN_OR_RETURN(
      v.unk_id, ReadGgufTokenId(file, "tokenizer.ggml.unknown_token_id", config.vocab_size));
  CATENA_ASSIGN_OR_RETURN(v.add_bos, file.GetBool("tokenizer.ggml.add_bos_token"));
  CATENA_ASSIGN_OR_RETURN(v.add_space_prefix, file.GetBool("tokenizer.ggml.add_space_prefix"));
  CATENA_RETURN_IF_ERROR(CheckVocabulary(file, v, config));
  return v;
}

// The ids that end a turn: the file's eos, eot and eom, and the control tokens that the
// architecture knows by their text.
absl::Status ReadGgufEnds(const GgufFile& file, const Architecture& architecture,
                          const ModelConfig& config, SideFiles* side) {
  std::vector<int32_t>* ids = &side->generation.eos_ids;
  *ids = config.eos_ids;
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    CATENA_ASSIGN_OR_RETURN(const int32_t id, ReadGgufTokenId(file, key, config.vocab_size));
    if (id >= 0) AddId(id, ids);
  }
  if (!side->vocabulary.has_value()) return absl::OkStatus();
  const GgufVocabulary& v = *side->vocabulary;
  for (size_t id = 0; id < v.types.size(); ++id) {
    if (v.types[id] != kControlToken && v.types[id] != kUserToken) continue;
    const auto ends = architecture.gguf_end_tokens;
    if (std::find(ends.begin(), ends.end(), v.tokens[id]) != ends.end()) {
      AddId(static_cast<int32_t>(id), ids);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SideFiles> ReadFolderSide(const std::string& folder, const ModelConfig& config) {
  const auto in_folder = [&](const char* name) { return (fs::path(folder) / name).string(); };
  SideFiles side;
  CATENA_RETURN_IF_ERROR(
      ReadGenerationConfig(in_folder("generation_config.json"), config, &side.generation));
  CATENA_RETURN_IF_ERROR(ReadTokenizerConfig(in_folder("tokenizer_config.json"), &side));
  CATENA_RETURN_IF_ERROR(ReadTemplateFile(in_folder("chat_template.jinja"), &side.chat_template));
  std::error_code ignored;
  const std::string tokenizer = in_folder("tokenizer.json");
  if (fs::exists(tokenizer, ignored)) side.tokenizer_json_path = tokenizer;
  return side;
}

absl::StatusOr<SideFiles> ReadGgufSide(const GgufFile& file, const Architecture& architecture,
                                       const ModelConfig& config) {
  SideFiles side;
  CATENA_ASSIGN_OR_RETURN(side.vocabulary, ReadVocabulary(file, config));
  CATENA_RETURN_IF_ERROR(ReadGgufEnds(file, architecture, config, &side));
  CATENA_RETURN_IF_ERROR(
      ReadSampling(GgufFields(file, "general.sampling"), kGgufSampling, &side.generation));
  side.generation.do_sample = side.generation.temperature.value_or(0) > 0;
  CATENA_ASSIGN_OR_RETURN(auto chat_template, file.GetString("tokenizer.chat_template"));
  side.chat_template = std::move(chat_template).value_or("");
  if (side.chat_template.size() > limits::kMaxChatTemplateBytes) {
    return TooLong(file.source(), "the chat template", limits::kMaxChatTemplateBytes);
  }
  if (side.vocabulary.has_value()) {
    const GgufVocabulary& v = *side.vocabulary;
    if (v.bos_id >= 0) side.bos_token = v.tokens[v.bos_id];
    if (v.eos_id >= 0) side.eos_token = v.tokens[v.eos_id];
  }
  return side;
}

}  // namespace catena
