#include "model/side_files.h"

#include <filesystem>

#include "model/file_limits.h"

namespace catena {

namespace fs = std::filesystem;

absl::StatusOr<SideFiles> ReadFolderSide(const std::string& folder, const ModelConfig& config) {
  SideFiles side;
  const std::string generation = (fs::path(folder) / "generation_config.json").string();
  CATENA_ASSIGN_OR_RETURN(side.generation,
                          ReadGenerationConfig(generation, config, &side.warnings));
  CATENA_ASSIGN_OR_RETURN(side.tokenizer, ReadTokenizerConfig(folder));
  side.tokenizer.end_ids = side.generation.eos_ids;
  std::error_code ignored;
  const std::string tokenizer = (fs::path(folder) / "tokenizer.json").string();
  if (fs::exists(tokenizer, ignored)) side.tokenizer_json_path = tokenizer;
  return side;
}

absl::StatusOr<SideFiles> ReadGgufSide(const GgufFile& file, const Architecture& architecture,
                                       const ModelConfig& config) {
  SideFiles side;
  CATENA_ASSIGN_OR_RETURN(side.generation, ReadGenerationConfig(file, config, &side.warnings));
  CATENA_ASSIGN_OR_RETURN(
      side.vocabulary,
      ReadGgufVocabulary(file, config, architecture.gguf_end_tokens, &side.warnings));
  CATENA_ASSIGN_OR_RETURN(auto chat_template, file.GetString("tokenizer.chat_template"));
  side.tokenizer.chat_template = std::move(chat_template).value_or("");
  if (side.tokenizer.chat_template.size() > limits::kChatTemplateBytes) {
    return absl::InvalidArgumentError(fmt::format("{}: the chat template is longer than {} bytes",
                                                  file.source(), limits::kChatTemplateBytes));
  }
  if (side.vocabulary.has_value()) {
    const GgufVocabulary& v = *side.vocabulary;
    for (const int32_t id : v.end_ids) AddId(id, &side.generation.eos_ids);
    if (v.bos_id >= 0) side.tokenizer.bos_token = v.tokens[v.bos_id];
    if (v.eos_id >= 0) side.tokenizer.eos_token = v.tokens[v.eos_id];
  }
  side.tokenizer.end_ids = side.generation.eos_ids;
  return side;
}

}  // namespace catena
