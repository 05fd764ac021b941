#include "model/quantise/gguf_tokenizer.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include <fmt/ranges.h>

#include "model/file_limits.h"
#include "model/tokenizer/end_tokens.h"
#include "model/tokenizer/gguf_pre_tokenizer.h"

namespace catena {
namespace {

using nlohmann::json;

// --- tokens ---

const json& At(const json& object, const char* key) {
  static const json null;
  const auto it = object.is_object() ? object.find(key) : object.end();
  return !object.is_object() || it == object.end() ? null : *it;
}

constexpr std::string_view kMarkedSpace = "\xE2\x96\x81";  // U+2581, SentencePiece's space

// Texts of users' tokens are looked for before spaces are marked: as llama.cpp's converter, with
// plain ones.
std::string PlainSpaces(std::string text) {
  for (size_t at = 0; (at = text.find(kMarkedSpace, at)) != text.npos; ++at) {
    text.replace(at, kMarkedSpace.size(), " ");
  }
  return text;
}

bool IsByteToken(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>');
}

using Places = absl::flat_hash_map<std::string, size_t>;

class VocabularyMaker {
 public:
  VocabularyMaker(const Checkpoint& folder, const json& root)
      : folder_(folder), model_(At(root, "model")), added_(At(root, "added_tokens")) {}

  // All but the rule by which text is cut.
  absl::StatusOr<GgufVocabulary> Make();

 private:
  absl::Status Put(int64_t id, const std::string& text, GgufTokenType type);
  absl::Status PutAll();
  // The text and, of tokens that merges make, the best merge's place.
  absl::Status ReadMerges(Places* rank);
  void SetScores(const Places& rank);

  const Checkpoint& folder_;
  const json &model_, &added_;
  GgufVocabulary v_;
  Places id_of_;  // tokens by text
};

absl::Status VocabularyMaker::Put(int64_t id, const std::string& text, GgufTokenType type) {
  if (id < 0 || id >= static_cast<int64_t>(v_.tokens.size())) {
    return absl::InvalidArgumentError(
        fmt::format("{}: its tokenizer has the token {}, but its matrices have {} rows; use the "
                    "folder itself",
                    folder_.path(), id, v_.tokens.size()));
  }
  const bool ends = EndsTurn(text, type == kControlToken);
  v_.tokens[static_cast<size_t>(id)] = text;
  id_of_[text] = static_cast<size_t>(id);
  v_.types[static_cast<size_t>(id)] = ends ? kControlToken : type;
  return absl::OkStatus();
}

absl::Status VocabularyMaker::PutAll() {
  const bool bytes = v_.model == "llama";
  for (const auto& [text, id] : At(model_, "vocab").items()) {
    const bool byte = bytes && IsByteToken(text);
    CATENA_RETURN_IF_ERROR(Put(AsInt(id).value_or(-1), text, byte ? kByteToken : kNormalToken));
  }
  for (const json& token : added_) {
    const json& content = At(token, "content");
    if (content.empty() || content == "") continue;
    const bool special = At(token, "special") == true;
    const std::string text = content.get<std::string>();
    CATENA_RETURN_IF_ERROR(Put(AsInt(At(token, "id")).value_or(-1),
                               bytes && !special ? PlainSpaces(text) : text,
                               special ? kControlToken : kUserToken));
  }
  for (const AddedToken& token : folder_.tokenizer_config().added) {
    const auto known = id_of_.find(token.content);
    const int64_t id = known == id_of_.end() ? token.id : static_cast<int64_t>(known->second);
    const bool has_row = id >= 0 && id < static_cast<int64_t>(v_.types.size());
    const bool user = has_row && v_.types[static_cast<size_t>(id)] == kUserToken;
    if (id < 0 || (user && !token.special)) continue;
    CATENA_RETURN_IF_ERROR(Put(id, token.content, token.special ? kControlToken : kUserToken));
  }
  if (const json& unk = At(model_, "unk_token"); unk.is_string()) {
    v_.unk_id = static_cast<int32_t>(AsInt(At(model_, "vocab").at(unk)).value_or(-1));
    if (bytes) CATENA_RETURN_IF_ERROR(Put(v_.unk_id, unk, kUnknownToken));
  }
  return absl::OkStatus();
}

absl::Status VocabularyMaker::ReadMerges(Places* rank) {
  for (const json& merge : At(model_, "merges")) {
    std::string text = merge.is_string()
                           ? merge.get<std::string>()
                           : merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    if (std::count(text.begin(), text.end(), ' ') != 1) {
      return absl::InvalidArgumentError(
          fmt::format("{}: merge {} of its tokenizer is of tokens with spaces, which GGUF cannot "
                      "say; use the folder itself",
                      folder_.path(), v_.merges.size()));
    }
    std::string joined = text;
    joined.erase(joined.find(' '), 1);
    rank->emplace(std::move(joined), v_.merges.size());
    v_.merges.push_back(std::move(text));
  }
  return absl::OkStatus();
}

// SentencePiece's scores: of tokens that merges make, the better the earlier the merge.
void VocabularyMaker::SetScores(const Places& rank) {
  for (size_t id = 0; id < v_.tokens.size(); ++id) {
    const auto at = rank.find(v_.tokens[id]);
    const bool plain = v_.types[id] == kNormalToken;
    const size_t place = at == rank.end() ? rank.size() + v_.merges.size() + id : at->second;
    v_.scores.push_back(plain ? -static_cast<float>(place) : 0.0f);
  }
  v_.merges.clear();
}

absl::StatusOr<GgufVocabulary> VocabularyMaker::Make() {
  const bool sentencepiece = At(model_, "byte_fallback") == true;
  v_.model = sentencepiece ? "llama" : "gpt2";
  const auto rows = static_cast<size_t>(folder_.config().vocab_size);
  for (size_t id = 0; id < rows; ++id) v_.tokens.push_back(fmt::format("[PAD{}]", id));
  v_.types.assign(rows, kUnusedToken);
  CATENA_RETURN_IF_ERROR(PutAll());
  Places rank;
  CATENA_RETURN_IF_ERROR(ReadMerges(&rank));
  if (sentencepiece) SetScores(rank);
  return std::move(v_);
}

// --- what the rules are tried on ---

// Where they differ: contractions, numbers, capitals, white space, marks, scripts.
constexpr std::string_view kTexts[] = {
    "Hello world",
    "  two  spaces and\ttabs\t\t, then\n\n  a line\r\n\r\nmore   \n",
    " I'm you're WE'LL don'T he'd they've it's 'sound' I'VE",
    "1 12 123 1234 12345 123456 1234567 3.14159 1,000,000 x2y33z v1.2.3",
    "HelloWorld helloWORLD HTTPServer aBcDeF McDonald's IPhone",
    "!!! ... ?!\n(a) [b] {c} <d> /* e */ // f\n#g @h $5 100% a_b-c=d+e\\n",
    "path/to/file.txt https://example.org/?q=1&r=2\n/a/\n//\r\n",
    "for (int i = 0; i < 10; ++i) {\n    total += x[i];  // sum\n}\n",
    "Größe naïve façade Ærøskøbing Привет мир Γειά σου שלום مرحبا بالعالم",
    "你好，世界。 こんにちは世界 안녕하세요 नमस्ते दुनिया สวัสดี ١٢٣ ²³ Ⅳ ½",
    "🙂🙃 👨‍👩‍👧‍👦 🇩🇪 ✓ → ∑ \u00a0nbsp\u3000wide\u200bzero",
    "a",
    " ",
    "\n",
    ""};

// A token that is longer is in no probe: what one costs stays small whatever the file holds.
constexpr size_t kLongestProbed = 256;  // bytes; 128 spaces, each spelled in two

std::vector<int32_t> IdsOf(const GgufVocabulary& v, std::initializer_list<GgufTokenType> types) {
  std::vector<int32_t> ids;
  for (size_t id = 0; id < v.types.size(); ++id) {
    const bool wanted = std::find(types.begin(), types.end(), v.types[id]) != types.end();
    if (wanted && v.tokens[id].size() <= kLongestProbed) ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

// Plain text: those, and some made of tokens, in NFC, which no rule of GGUF's makes of a text.
class PlainProbes {
 public:
  PlainProbes(const GgufVocabulary& v, const Tokenizer& tokenizer)
      : tokenizer_(tokenizer), plain_(IdsOf(v, {kNormalToken})) {}

  size_t size() const { return std::size(kTexts) + (plain_.empty() ? 0 : kRuns); }
  std::string At(size_t i) const {
    if (i < std::size(kTexts)) return std::string(kTexts[i]);
    uint64_t state = i;  // Knuth's generator of MMIX: any draw will do, but the same each time
    int32_t run[kRunTokens];
    for (int32_t& id : run) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      id = plain_[(state >> 33) % plain_.size()];
    }
    return nfc_.Apply(tokenizer_.Decode(run, false));
  }

 private:
  static constexpr size_t kRuns = 4000, kRunTokens = 8;

  const Tokenizer& tokenizer_;
  const std::vector<int32_t> plain_;
  const Normalizer nfc_{{NfcStep{}}};
};

// Special tokens between texts, with white space and without.
class SpecialProbes {
 public:
  explicit SpecialProbes(const GgufVocabulary& v)
      : v_(v), special_(IdsOf(v, {kControlToken, kUserToken})) {}

  size_t size() const { return special_.size(); }
  std::string At(size_t i) const {
    const std::string& token = v_.tokens[static_cast<size_t>(special_[i])];
    return fmt::format("a {} b{}{}c", token, token, token);
  }

 private:
  const GgufVocabulary& v_;
  const std::vector<int32_t> special_;
};

// The first text that the two encode or decode otherwise.
template <typename Probes>
std::optional<size_t> FindDifference(const Probes& probes, const Tokenizer& a, const Tokenizer& b) {
  for (size_t i = 0; i < probes.size(); ++i) {
    const std::string text = probes.At(i);
    const auto ids = a.Encode(text), others = b.Encode(text);
    if (!ids.ok() || !others.ok() || *ids != *others) return i;
    if (a.Decode(*ids, false) != b.Decode(*ids, false)) return i;
  }
  return std::nullopt;
}

// --- the rules ---

struct Rule {
  std::string_view pre;  // tokenizer.ggml.pre
  bool add_space_prefix;
};

std::vector<Rule> Rules(const GgufVocabulary& v) {
  if (v.model == "llama") return {{"default", true}, {"default", false}};
  std::vector<Rule> rules;
  for (const bool prefix : {false, true}) {
    for (const std::string_view pre : GgufPreTokenizerRules()) rules.push_back({pre, prefix});
  }
  return rules;
}

}  // namespace

absl::StatusOr<GgufVocabulary> DescribeTokenizer(const Checkpoint& folder,
                                                 const Tokenizer& tokenizer,
                                                 std::vector<std::string>* warnings) {
  const std::string path = *folder.tokenizer_json_path();
  CATENA_ASSIGN_OR_RETURN(const json root, ReadJsonFile(path, limits::kTokenizerJson));
  if (At(At(root, "model"), "type") == "Unigram") {
    return absl::InvalidArgumentError(fmt::format(
        "{}: a unigram tokenizer cannot be written to GGUF; use the folder itself", path));
  }
  CATENA_ASSIGN_OR_RETURN(GgufVocabulary v, VocabularyMaker(folder, root).Make());
  v.bos_id = tokenizer.bos_id() >= 0 ? tokenizer.bos_id() : folder.config().bos_id;
  v.add_bos = tokenizer.add_bos();
  const PlainProbes probes(v, tokenizer);
  size_t told_apart = 0;  // the probe that told the rule that fitted longest apart
  for (const Rule& rule : Rules(v)) {
    v.pre = rule.pre;
    v.add_space_prefix = rule.add_space_prefix;
    CATENA_ASSIGN_OR_RETURN(const auto candidate, Tokenizer::FromGguf(v, path));
    if (const auto difference = FindDifference(probes, tokenizer, *candidate)) {
      told_apart = std::max(told_apart, *difference);
      continue;
    }
    const SpecialProbes special(v);
    if (const auto difference = FindDifference(special, tokenizer, *candidate)) {
      warnings->push_back(
          fmt::format("{}: GGUF cannot say what it does around special tokens: {} becomes other "
                      "tokens with the new file",
                      path, Quoted(special.At(*difference))));
    }
    return v;
  }
  return absl::InvalidArgumentError(fmt::format(
      "{}: no tokenizer that a GGUF file can name gives the same tokens, of {} for example; use "
      "the folder itself",
      path, Quoted(probes.At(told_apart))));
}

void SetVocabulary(const GgufVocabulary& v, absl::Span<const int32_t> end_ids, GgufMetadata* m,
                   std::vector<std::string>* warnings) {
  m->SetString("tokenizer.ggml.model", v.model);
  m->SetString("tokenizer.ggml.pre", v.pre);
  m->SetStrings("tokenizer.ggml.tokens", v.tokens);
  if (!v.scores.empty()) m->SetFloat32s("tokenizer.ggml.scores", v.scores);
  m->SetInt32s("tokenizer.ggml.token_type", v.types);
  if (!v.merges.empty()) m->SetStrings("tokenizer.ggml.merges", v.merges);
  const auto set_id = [&](const char* key, int32_t id) {
    if (id >= 0) m->SetUint32(key, static_cast<uint32_t>(id));
  };
  set_id("tokenizer.ggml.bos_token_id", v.bos_id);
  set_id("tokenizer.ggml.unknown_token_id", v.unk_id);
  constexpr const char* kEnds[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                   "tokenizer.ggml.eom_token_id"};
  std::vector<int32_t> unnamed;
  size_t named = 0;
  for (const int32_t id : end_ids) {
    const bool known = named > 0 && EndsTurn(v.tokens[static_cast<size_t>(id)],
                                             v.types[static_cast<size_t>(id)] == kControlToken);
    if (known) continue;  // by its text
    if (named < std::size(kEnds)) {
      set_id(kEnds[named++], id);
    } else {
      unnamed.push_back(id);
    }
  }
  if (!unnamed.empty()) {
    warnings->push_back(fmt::format(
        "a text of the new file does not end at the tokens {}: GGUF names three at most",
        fmt::join(unnamed, ", ")));
  }
  m->SetBool("tokenizer.ggml.add_bos_token", *v.add_bos);
  m->SetBool("tokenizer.ggml.add_space_prefix", *v.add_space_prefix);
}

}  // namespace catena
