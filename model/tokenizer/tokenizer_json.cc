// Reads tokenizer.json, the serialization of huggingface/tokenizers
// (https://github.com/huggingface/tokenizers, tokenizers/src/tokenizer/serialization.rs). What it
// may name and we do not support is an INVALID_ARGUMENT that names it.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"

#include "model/file_limits.h"
#include "model/generation_config.h"
#include "model/json.h"
#include "model/tokenizer/end_tokens.h"
#include "model/tokenizer/json_component.h"
#include "model/tokenizer/pre_tokenizer_json.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

using nlohmann::json;

constexpr size_t kMaxStepText = 64;          // bytes of what a step inserts
constexpr size_t kMaxNormalizerGrowth = 64;  // times that all replacements may lengthen a text
constexpr size_t kMaxDecoderGrowth = 4;

// The one regular expression that a Replace of a normalizer may have, which transformers' converter
// from SentencePiece writes.
constexpr std::string_view kSeveralSpaces = " {2,}";

// {"pattern": {"String": P}, "content": C}; `growth` is multiplied by what it can lengthen.
absl::StatusOr<ReplaceStep> ReadReplace(const JsonComponent& c, size_t max_growth, size_t* growth) {
  const json& pattern = JsonMember(*c.object, "pattern");
  if (!pattern.is_object()) return c.place.Damaged("Replace needs a pattern");
  if (!JsonMember(pattern, "String").is_string()) {
    return c.place.Unsupported(fmt::format("Replace of {}", pattern.dump().substr(0, 100)));
  }
  ReplaceStep step{.pattern = JsonMember(pattern, "String").get<std::string>(), .content = {}};
  CATENA_ASSIGN_OR_RETURN(step.content, RequiredString(*c.object, "content", c.place));
  if (step.pattern.empty()) return c.place.Unsupported("Replace of an empty text");
  if (step.content.size() > kMaxStepText) return c.place.Unsupported("Replace by a long text");
  *growth *=
      std::max<size_t>(1, (step.content.size() + step.pattern.size() - 1) / step.pattern.size());
  if (*growth > max_growth) return c.place.Unsupported("so many Replace steps that lengthen text");
  return step;
}

absl::StatusOr<CharsmapStep> ReadCharsmap(const JsonComponent& c, size_t* growth) {
  CATENA_ASSIGN_OR_RETURN(const std::string text,
                          RequiredString(*c.object, "precompiled_charsmap", c.place));
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes)) return c.place.Damaged("Precompiled is not base64");
  auto map = Charsmap::Parse(bytes);
  if (!map.ok()) return c.place.Damaged(fmt::format("Precompiled {}", Message(map.status())));
  *growth *= kMaxCharsmapGrowth;
  return CharsmapStep{*std::move(map)};
}

absl::StatusOr<StripStep> ReadStripStep(const JsonComponent& c) {
  StripStep step;
  CATENA_ASSIGN_OR_RETURN(step.left, BoolOr(*c.object, "strip_left", true, c.place));
  CATENA_ASSIGN_OR_RETURN(step.right, BoolOr(*c.object, "strip_right", true, c.place));
  return step;
}

// A Replace of a fixed text, or of several spaces.
absl::StatusOr<NormalizerStep> ReadReplaceStep(const JsonComponent& c, size_t* growth) {
  const json& pattern = JsonMember(*c.object, "pattern");
  if (pattern.is_object() && JsonMember(pattern, "Regex") == kSeveralSpaces) {
    CATENA_ASSIGN_OR_RETURN(std::string content, RequiredString(*c.object, "content", c.place));
    if (content.size() > kMaxStepText) return c.place.Unsupported("Replace by a long text");
    *growth *= std::max<size_t>(1, (content.size() + 1) / 2);
    if (*growth > kMaxNormalizerGrowth) return c.place.Unsupported("so many steps that lengthen");
    return SqueezeStep{std::move(content)};
  }
  CATENA_ASSIGN_OR_RETURN(auto step, ReadReplace(c, kMaxNormalizerGrowth, growth));
  return step;
}

absl::StatusOr<Normalizer> ReadNormalizer(const json& v, const JsonPlace& p) {
  std::vector<JsonComponent> components;
  CATENA_RETURN_IF_ERROR(FlattenComponents(v, "normalizers", p, &components));
  std::vector<NormalizerStep> steps;
  size_t growth = 1;
  for (const JsonComponent& c : components) {
    if (c.type == "Prepend") {
      CATENA_ASSIGN_OR_RETURN(std::string text, RequiredString(*c.object, "prepend", c.place));
      if (text.size() > kMaxStepText) return c.place.Unsupported("Prepend of a long text");
      steps.push_back(PrependStep{std::move(text)});
    } else if (c.type == "Replace") {
      CATENA_ASSIGN_OR_RETURN(auto step, ReadReplaceStep(c, &growth));
      steps.push_back(std::move(step));
    } else if (c.type == "NFC") {
      steps.push_back(NfcStep{});
    } else if (c.type == "Strip") {
      CATENA_ASSIGN_OR_RETURN(const StripStep step, ReadStripStep(c));
      steps.push_back(step);
    } else if (c.type == "Precompiled") {
      CATENA_ASSIGN_OR_RETURN(CharsmapStep step, ReadCharsmap(c, &growth));
      if (growth > kMaxNormalizerGrowth) return c.place.Unsupported("so many steps that lengthen");
      steps.push_back(std::move(step));
    } else {
      return c.place.Unsupported(c.type);
    }
  }
  return Normalizer(std::move(steps));
}

absl::Status ReadStrip(const JsonComponent& c, DecoderOptions* out) {
  CATENA_ASSIGN_OR_RETURN(out->strip, RequiredString(*c.object, "content", c.place));
  CATENA_ASSIGN_OR_RETURN(const auto start, GetInt(*c.object, "start", c.place.source));
  CATENA_ASSIGN_OR_RETURN(const auto stop, GetInt(*c.object, "stop", c.place.source));
  if (stop.value_or(0) != 0) return c.place.Unsupported("Strip at the end");
  if (out->strip.empty() || ReadCodePoint(out->strip, 0).size != out->strip.size()) {
    return c.place.Damaged("Strip needs one character as content");
  }
  if (start.value_or(0) < 0 || start.value_or(0) > 1'000'000) {
    return c.place.Damaged("Strip has a bad start");
  }
  out->strip_count = static_cast<int>(start.value_or(0));
  return absl::OkStatus();
}

// The replaced character is a space, and of the first token nothing.
absl::Status ReadMetaspace(const JsonComponent& c, DecoderOptions* out) {
  CATENA_ASSIGN_OR_RETURN(std::string space, RequiredString(*c.object, "replacement", c.place));
  if (space.empty() || ReadCodePoint(space, 0).size != space.size()) {
    return c.place.Damaged("Metaspace needs one character as replacement");
  }
  CATENA_ASSIGN_OR_RETURN(const auto scheme,
                          GetString(*c.object, "prepend_scheme", c.place.source));
  CATENA_ASSIGN_OR_RETURN(const bool prefix, BoolOr(*c.object, "add_prefix_space", true, c.place));
  if (scheme ? *scheme != "never" : prefix) out->dropped_first = space;
  out->replacements.push_back({std::move(space), " "});
  return absl::OkStatus();
}

absl::StatusOr<DecoderOptions> ReadDecoder(const json& v, const JsonPlace& p) {
  std::vector<JsonComponent> components;
  CATENA_RETURN_IF_ERROR(FlattenComponents(v, "decoders", p, &components));
  if (components.empty()) return p.Unsupported("\"null\"");
  DecoderOptions out;
  bool fused = false;
  size_t growth = 1;
  for (const JsonComponent& c : components) {
    const bool before_joining = !fused && !out.byte_fallback && !out.byte_level;
    if (c.type == "Replace" && before_joining) {
      CATENA_ASSIGN_OR_RETURN(auto step, ReadReplace(c, kMaxDecoderGrowth, &growth));
      out.replacements.push_back({std::move(step.pattern), std::move(step.content)});
    } else if (c.type == "Metaspace" && before_joining && out.replacements.empty()) {
      CATENA_RETURN_IF_ERROR(ReadMetaspace(c, &out));
    } else if (c.type == "ByteFallback" && before_joining) {
      out.byte_fallback = true;
    } else if (c.type == "Fuse" && !out.byte_level) {
      fused = true;
    } else if (c.type == "Strip" && fused && out.strip_count == 0) {
      CATENA_RETURN_IF_ERROR(ReadStrip(c, &out));
    } else if (c.type == "ByteLevel" && before_joining && out.replacements.empty()) {
      out.byte_level = true;
    } else {
      return c.place.Unsupported(fmt::format("{} at this place", c.type));
    }
  }
  return out;
}

absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(const json& v, const JsonPlace& p) {
  std::vector<AddedToken> out;
  if (v.is_null()) return out;
  if (!v.is_array()) return p.Damaged("must be a list");
  for (const json& item : v) {
    if (!item.is_object()) return p.Damaged("must hold objects");
    AddedToken t;
    CATENA_ASSIGN_OR_RETURN(const auto id, GetInt(item, "id", p.source));
    if (!id || *id < 0 || *id > INT32_MAX) return p.Damaged("holds a token with a bad id");
    t.id = static_cast<int32_t>(*id);
    CATENA_ASSIGN_OR_RETURN(t.content, RequiredString(item, "content", p));
    if (t.content.size() > kMaxAddedTokenBytes) return p.Unsupported("a token of over 1 KiB");
    if (t.content.empty()) continue;  // the reference ignores it
    CATENA_ASSIGN_OR_RETURN(t.single_word, BoolOr(item, "single_word", false, p));
    CATENA_ASSIGN_OR_RETURN(t.lstrip, BoolOr(item, "lstrip", false, p));
    CATENA_ASSIGN_OR_RETURN(t.rstrip, BoolOr(item, "rstrip", false, p));
    CATENA_ASSIGN_OR_RETURN(t.normalized, BoolOr(item, "normalized", false, p));
    CATENA_ASSIGN_OR_RETURN(t.special, BoolOr(item, "special", false, p));
    out.push_back(std::move(t));
  }
  return out;
}

// Joins the tokens that other files name to those of tokenizer.json, as transformers adds them when
// it loads the folder. A token without an id, or whose id is another's, needs one of the
// vocabulary.
void AddNamed(const std::vector<AddedToken>& named, const json& vocab,
              std::vector<AddedToken>* added) {
  constexpr size_t kMaxHole = 1000;
  const size_t max_id = vocab.size() + added->size() + named.size() + kMaxHole;
  std::set<int32_t> used;
  std::map<std::string_view, size_t> place;  // in `added`, which has room for all
  added->reserve(added->size() + named.size());
  for (size_t i = 0; i < added->size(); ++i) place.emplace((*added)[i].content, i);
  for (const AddedToken& token : named) {
    if (const auto known = place.find(token.content); known != place.end()) {
      (*added)[known->second].special |= token.special;
      continue;
    }
    AddedToken t = token;
    if (const auto piece = vocab.find(t.content); piece != vocab.end()) {
      t.id = static_cast<int32_t>(AsInt(*piece).value_or(-1));
    } else if (t.id >= 0) {
      if (used.empty()) {  // seldom: tokenizer.json names its added tokens itself
        for (const json& id : vocab) used.insert(static_cast<int32_t>(AsInt(id).value_or(-1)));
        for (const AddedToken& a : *added) used.insert(a.id);
      }
      if (static_cast<size_t>(t.id) > max_id || !used.insert(t.id).second) continue;
    }
    if (t.id < 0) continue;
    added->push_back(std::move(t));
    place.emplace(added->back().content, added->size() - 1);
  }
}

// Tokens that end a turn by their texts become special ones, and are listed.
void FindEnds(TokenizerParts* parts) {
  std::set<std::string_view> added;
  for (AddedToken& t : parts->added) {
    added.insert(t.content);
    if (!EndsTurn(t.content, t.special)) continue;
    t.special = true;
    AddId(t.id, &parts->end_ids);
  }
  std::vector<AddedToken> plain;
  for (int32_t id = 0; id < parts->vocabulary.size(); ++id) {
    const std::string_view text = parts->vocabulary.Text(id);
    if (!EndsTurn(text, false) || added.count(text) != 0) continue;
    plain.push_back({.content = std::string(text), .id = id, .special = true});
    AddId(id, &parts->end_ids);
  }
  parts->added.insert(parts->added.end(), plain.begin(), plain.end());
}

// What the folder's other files say of BOS and EOS.
void ApplyConfig(const TokenizerConfig& config, TokenizerParts* parts) {
  for (const int32_t id : config.end_ids) AddId(id, &parts->end_ids);
  const int32_t eos = parts->vocabulary.FindAny(config.eos_token);
  if (eos >= 0) AddId(eos, &parts->end_ids);
  const int32_t bos = parts->vocabulary.FindAny(config.bos_token);
  if (parts->bos_id < 0) parts->bos_id = bos;
  if (config.add_bos) parts->add_bos = *config.add_bos && parts->bos_id >= 0;
}

absl::StatusOr<Vocabulary> ReadVocabulary(const json& vocab, const std::vector<AddedToken>& added,
                                          const JsonPlace& p) {
  if (!vocab.is_object()) return p.Damaged("must be an object");
  std::vector<VocabularyEntry> entries;
  entries.reserve(vocab.size() + added.size());
  for (const auto& [text, id] : vocab.items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX) {
      return p.Damaged(fmt::format("gives \"{}\" a bad id", text.substr(0, 80)));
    }
    entries.push_back({id.get<int32_t>(), text, false});
  }
  for (const AddedToken& t : added) {
    const auto known = vocab.find(t.content);
    if (known == vocab.end()) {
      entries.push_back({t.id, t.content, true});
    } else if (*known != t.id) {
      return p.Damaged(
          fmt::format("and added_tokens give \"{}\" different ids", t.content.substr(0, 80)));
    }
  }
  return Vocabulary::Make(std::move(entries), p.source);
}

// A merge is "left right", or ["left", "right"] where tokens may hold spaces.
absl::StatusOr<std::vector<BpeMerge>> ReadMerges(const json& merges, const Vocabulary& vocabulary,
                                                 const JsonPlace& p) {
  if (!merges.is_array()) return p.Damaged("must be a list");
  std::vector<BpeMerge> out;
  out.reserve(merges.size());
  std::string joined;
  for (const json& item : merges) {
    std::string_view left, right;
    if (item.is_string()) {
      const std::string_view text = item.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != text.npos) {
        return p.Damaged(fmt::format("entry {} is not two tokens", out.size()));
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      left = item[0].get_ref<const std::string&>();
      right = item[1].get_ref<const std::string&>();
    } else {
      return p.Damaged(fmt::format("entry {} is not two tokens", out.size()));
    }
    joined.assign(left).append(right);
    const BpeMerge m{vocabulary.Find(left), vocabulary.Find(right), vocabulary.Find(joined)};
    if (m.left < 0 || m.right < 0 || m.result < 0) {
      return p.Damaged(
          fmt::format("entry {} (\"{}\" and \"{}\") names a token that is not in the "
                      "vocabulary",
                      out.size(), left.substr(0, 40), right.substr(0, 40)));
    }
    out.push_back(m);
  }
  return out;
}

// [[text, score], ...] as an object of ids, and the scores.
absl::StatusOr<json> ReadScores(const json& vocab, const JsonPlace& p,
                                std::vector<double>* scores) {
  if (!vocab.is_array() || vocab.empty()) return p.Damaged("must be a list of texts and scores");
  json ids = json::object();
  for (const json& item : vocab) {
    const bool right = item.is_array() && item.size() == 2 && item[0].is_string() &&
                       item[1].is_number() && std::isfinite(item[1].get<double>());
    if (!right) return p.Damaged(fmt::format("entry {} is no text and its score", scores->size()));
    const auto& text = item[0].get_ref<const std::string&>();
    if (text.size() > kMaxUnigramTokenBytes) {
      return p.Unsupported(fmt::format("a token of over {} bytes", kMaxUnigramTokenBytes));
    }
    if (!ids.emplace(text, scores->size()).second) {
      return p.Unsupported(fmt::format("{} twice", Quoted(text)));
    }
    scores->push_back(item[1].get<double>());
  }
  return ids;
}

absl::Status ReadUnigram(const json& model, const JsonPlace& p, const TokenizerConfig& config,
                         TokenizerParts* parts) {
  if (parts->bpe.byte_level) return p.Unsupported("Unigram together with ByteLevel");
  UnigramOptions unigram;
  CATENA_ASSIGN_OR_RETURN(unigram.byte_fallback, BoolOr(model, "byte_fallback", false, p));
  CATENA_ASSIGN_OR_RETURN(const json ids,
                          ReadScores(JsonMember(model, "vocab"), p / "vocab", &unigram.scores));
  CATENA_ASSIGN_OR_RETURN(const auto unk, GetInt(model, "unk_id", p.source));
  if (!unk) return (p / "unk_id").Unsupported("null");
  if (*unk < 0 || *unk >= static_cast<int64_t>(unigram.scores.size())) {
    return (p / "unk_id").Damaged("is not in the vocabulary");
  }
  unigram.unk_id = static_cast<int32_t>(*unk);
  AddNamed(config.added, ids, &parts->added);
  CATENA_ASSIGN_OR_RETURN(parts->vocabulary, ReadVocabulary(ids, parts->added, p / "vocab"));
  parts->unigram = std::move(unigram);
  return absl::OkStatus();
}

absl::Status ReadModel(const json& model, const JsonPlace& p, const TokenizerConfig& config,
                       TokenizerParts* parts) {
  if (!model.is_object()) return p.Damaged("must be an object");
  CATENA_ASSIGN_OR_RETURN(const auto type, GetString(model, "type", p.source));
  if (type == "Unigram") return ReadUnigram(model, p, config, parts);
  if (type.value_or("BPE") != "BPE") return p.Unsupported(type->substr(0, 40));
  CATENA_ASSIGN_OR_RETURN(const auto dropout, GetDouble(model, "dropout", p.source));
  if (dropout.value_or(0) != 0) return (p / "dropout").Unsupported("other than 0");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    CATENA_ASSIGN_OR_RETURN(const auto affix, GetString(model, key, p.source));
    if (!affix.value_or("").empty()) return (p / key).Unsupported("other than \"\"");
  }
  BpeOptions& bpe = parts->bpe;
  CATENA_ASSIGN_OR_RETURN(bpe.byte_fallback, BoolOr(model, "byte_fallback", false, p));
  CATENA_ASSIGN_OR_RETURN(bpe.fuse_unk, BoolOr(model, "fuse_unk", false, p));
  CATENA_ASSIGN_OR_RETURN(bpe.ignore_merges, BoolOr(model, "ignore_merges", false, p));
  if (bpe.byte_level && bpe.byte_fallback) {
    return (p / "byte_fallback").Unsupported("together with ByteLevel");
  }
  AddNamed(config.added, JsonMember(model, "vocab"), &parts->added);
  CATENA_ASSIGN_OR_RETURN(parts->vocabulary,
                          ReadVocabulary(JsonMember(model, "vocab"), parts->added, p / "vocab"));
  CATENA_ASSIGN_OR_RETURN(const auto unk, GetString(model, "unk_token", p.source));
  if (unk) {
    bpe.unk_id = parts->vocabulary.Find(*unk);
    if (bpe.unk_id < 0) return (p / "unk_token").Damaged("is not in the vocabulary");
  }
  CATENA_ASSIGN_OR_RETURN(parts->merges,
                          ReadMerges(JsonMember(model, "merges"), parts->vocabulary, p / "merges"));
  return absl::OkStatus();
}

// A BOS is what a TemplateProcessing puts in front of a single text.
absl::Status ReadPostProcessor(const json& v, const JsonPlace& p, TokenizerParts* parts) {
  std::vector<JsonComponent> components;
  CATENA_RETURN_IF_ERROR(FlattenComponents(v, "processors", p, &components));
  for (const JsonComponent& c : components) {
    if (c.type == "ByteLevel") continue;  // changes offsets alone
    if (c.type != "TemplateProcessing") return c.place.Unsupported(c.type);
    const json& single = JsonMember(*c.object, "single");
    if (!single.is_array() || single.empty() || !single[0].is_object()) {
      return c.place.Damaged("TemplateProcessing needs a list \"single\"");
    }
    const json& special = JsonMember(single[0], "SpecialToken");
    if (!special.is_object()) continue;
    CATENA_ASSIGN_OR_RETURN(const std::string name, RequiredString(special, "id", c.place));
    parts->bos_id = parts->vocabulary.FindAny(name);
    if (parts->bos_id < 0) return c.place.Damaged("names a token that is not in the vocabulary");
    parts->add_bos = true;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromTokenizerJson(
    std::string_view text, std::string_view source, const TokenizerConfig& config) {
  CATENA_ASSIGN_OR_RETURN(const json root, ParseJson(text, source, limits::kTokenizerJson));
  if (!root.is_object()) {
    return absl::DataLossError(fmt::format("{}: not a tokenizer.json object", source));
  }
  const auto place = [&](const char* key) { return JsonPlace{source, key}; };
  TokenizerParts parts;
  CATENA_ASSIGN_OR_RETURN(parts.normalizer,
                          ReadNormalizer(JsonMember(root, "normalizer"), place("normalizer")));
  CATENA_ASSIGN_OR_RETURN(PreTokenizerParts pre, ReadPreTokenizer(JsonMember(root, "pre_tokenizer"),
                                                                  place("pre_tokenizer")));
  parts.pre_tokenizer = std::move(pre.pre_tokenizer);
  parts.bpe.byte_level = pre.byte_level;
  CATENA_ASSIGN_OR_RETURN(parts.decoder,
                          ReadDecoder(JsonMember(root, "decoder"), place("decoder")));
  CATENA_ASSIGN_OR_RETURN(parts.added,
                          ReadAddedTokens(JsonMember(root, "added_tokens"), place("added_tokens")));
  CATENA_RETURN_IF_ERROR(ReadModel(JsonMember(root, "model"), place("model"), config, &parts));
  CATENA_RETURN_IF_ERROR(
      ReadPostProcessor(JsonMember(root, "post_processor"), place("post_processor"), &parts));
  FindEnds(&parts);
  ApplyConfig(config, &parts);
  return std::make_shared<const Tokenizer>(std::move(parts));
}

}  // namespace catena
