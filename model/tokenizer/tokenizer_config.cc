#include "model/tokenizer/tokenizer_config.h"

#include <charconv>
#include <filesystem>

#include "model/file_limits.h"
#include "model/model_limits.h"
#include "model/read_file.h"

namespace catena {
namespace {

using nlohmann::json;

constexpr char kDecoderKey[] = "added_tokens_decoder";
// Special tokens by their role. A text is BOS or EOS to us; of the others we only know that they
// are special.
constexpr const char* kNamedTokens[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                        "sep_token", "cls_token", "mask_token"};
constexpr const char* kTokenLists[] = {"additional_special_tokens", "extra_special_tokens"};

absl::Status TooLong(std::string_view source, std::string_view what, uint64_t max_bytes) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is longer than {} bytes", source, what, max_bytes));
}

// A file's object, or an empty one where there is no file.
absl::StatusOr<json> ReadObject(const std::string& path) {
  auto file = ReadJsonFile(path, limits::kTokenizerConfigJson);
  if (absl::IsNotFound(file.status())) return json::object();
  if (!file.ok()) return file.status();
  if (!file->is_object()) return absl::DataLossError(fmt::format("{}: not a JSON object", path));
  return file;
}

// The text of a token: it is a string, or an object whose "content" is the text. Null: neither.
const std::string* TextOf(const json& token) {
  const json* text = &token;
  if (token.is_object()) {
    const auto content = token.find("content");
    if (content == token.end()) return nullptr;
    text = &*content;
  }
  return text->is_string() ? &text->get_ref<const std::string&>() : nullptr;
}

bool Flag(const json& token, const char* key) {
  const auto it = token.find(key);
  return it != token.end() && it->is_boolean() && it->get<bool>();
}

// A token with the flags that its object gives, if it is one. Added tokens longer than any that is
// looked for are left out.
void Add(const json& token, int32_t id, bool special, std::vector<AddedToken>* added) {
  const std::string* text = TextOf(token);
  if (text == nullptr || text->empty() || text->size() > kMaxAddedTokenBytes) return;
  AddedToken t{.content = *text, .id = id, .special = special};
  if (token.is_object()) {
    t.single_word = Flag(token, "single_word");
    t.lstrip = Flag(token, "lstrip");
    t.rstrip = Flag(token, "rstrip");
    t.normalized = Flag(token, "normalized");
    t.special = special || Flag(token, "special");
  }
  added->push_back(std::move(t));
}

std::optional<int32_t> ParseId(std::string_view text) {
  int32_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0) return std::nullopt;
  return id;
}

// BOS or EOS: absent or null leaves `out`.
absl::Status ReadNamed(const json& object, const char* key, std::string_view source,
                       std::string* out) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return absl::OkStatus();
  const std::string* text = TextOf(*it);
  if (text == nullptr) {
    return absl::DataLossError(fmt::format("{}: \"{}\" must be a string", source, key));
  }
  if (text->size() > limits::kMaxSpecialTokenBytes) {
    return TooLong(source, fmt::format("\"{}\"", key), limits::kMaxSpecialTokenBytes);
  }
  *out = *text;
  return absl::OkStatus();
}

absl::Status ReadTokens(const json& object, std::string_view source, TokenizerConfig* out) {
  CATENA_RETURN_IF_ERROR(ReadNamed(object, "bos_token", source, &out->bos_token));
  CATENA_RETURN_IF_ERROR(ReadNamed(object, "eos_token", source, &out->eos_token));
  for (const char* key : kNamedTokens) {
    if (const auto it = object.find(key); it != object.end()) Add(*it, -1, true, &out->added);
  }
  for (const char* key : kTokenLists) {  // a list, or an object by name
    const auto it = object.find(key);
    if (it == object.end() || !it->is_structured()) continue;
    for (const json& token : *it) Add(token, -1, true, &out->added);
  }
  return absl::OkStatus();
}

// {"32000": {"content": "<|endoftext|>", "special": true, …}}
void ReadDecoder(const json& object, TokenizerConfig* out) {
  const auto decoder = object.find(kDecoderKey);
  if (decoder == object.end() || !decoder->is_object()) return;
  for (const auto& [id, token] : decoder->items()) {
    if (const auto parsed = ParseId(id)) Add(token, *parsed, false, &out->added);
  }
}

// "chat_template": a text, or a list of {name, template} of which "default" is meant.
absl::Status ReadChatTemplate(const json& object, std::string_view source, std::string* out) {
  const auto it = object.find("chat_template");
  if (it == object.end() || it->is_null()) return absl::OkStatus();
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
        "{}: \"chat_template\" must be a string or a list of {{name, template}}", source));
  }
  *out = text->get<std::string>();
  if (out->size() <= limits::kChatTemplateBytes) return absl::OkStatus();
  return TooLong(source, "\"chat_template\"", limits::kChatTemplateBytes);
}

// special_tokens_map.json: where tokenizer_config.json has no added_tokens_decoder, as before
// transformers 4.34, its words count more; else it only fills what is not said.
absl::Status ReadSpecialTokensMap(const std::string& path, const json& config,
                                  TokenizerConfig* out) {
  CATENA_ASSIGN_OR_RETURN(json map, ReadObject(path));
  if (config.contains(kDecoderKey)) {
    for (const auto& [key, value] : config.items()) map.erase(key);
  }
  return ReadTokens(map, path, out);
}

}  // namespace

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& folder) {
  const auto in_folder = [&](const char* name) {
    return (std::filesystem::path(folder) / name).string();
  };
  TokenizerConfig out;
  const std::string path = in_folder("tokenizer_config.json");
  CATENA_ASSIGN_OR_RETURN(const json config, ReadObject(path));
  ReadDecoder(config, &out);
  CATENA_RETURN_IF_ERROR(ReadTokens(config, path, &out));
  CATENA_RETURN_IF_ERROR(ReadSpecialTokensMap(in_folder("special_tokens_map.json"), config, &out));
  CATENA_ASSIGN_OR_RETURN(const json added, ReadObject(in_folder("added_tokens.json")));
  for (const auto& [text, id] : added.items()) {
    const std::optional<int64_t> value = AsInt(id);
    if (value && *value >= 0 && *value <= INT32_MAX) {
      Add(json(text), static_cast<int32_t>(*value), false, &out.added);
    }
  }
  if (const auto it = config.find("add_bos_token"); it != config.end() && it->is_boolean()) {
    out.add_bos = it->get<bool>();
  }
  CATENA_RETURN_IF_ERROR(ReadChatTemplate(config, path, &out.chat_template));
  // chat_template.jinja wins over tokenizer_config.json's.
  auto jinja = ReadFile(in_folder("chat_template.jinja"), limits::kChatTemplateBytes);
  if (jinja.ok()) out.chat_template = *std::move(jinja);
  if (!jinja.ok() && !absl::IsNotFound(jinja.status())) return jinja.status();
  return out;
}

}  // namespace catena
