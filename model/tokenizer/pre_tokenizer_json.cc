#include "model/tokenizer/pre_tokenizer_json.h"

#include <optional>
#include <utility>

#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

using nlohmann::json;

bool IsOneCharacter(std::string_view text) {
  return !text.empty() && ReadCodePoint(text, 0).size == text.size();
}

absl::StatusOr<MetaspaceStage> ReadMetaspace(const JsonComponent& c) {
  MetaspaceStage m;
  CATENA_ASSIGN_OR_RETURN(m.replacement, RequiredString(*c.object, "replacement", c.place));
  if (!IsOneCharacter(m.replacement)) {
    return c.place.Damaged("replacement must be one character");
  }
  CATENA_ASSIGN_OR_RETURN(m.split, BoolOr(*c.object, "split", true, c.place));
  CATENA_ASSIGN_OR_RETURN(const auto scheme,
                          GetString(*c.object, "prepend_scheme", c.place.source));
  CATENA_ASSIGN_OR_RETURN(const bool prefix, BoolOr(*c.object, "add_prefix_space", true, c.place));
  using Prefix = MetaspaceStage::Prefix;
  if (scheme == "always" || (!scheme && prefix)) {
    m.prefix = Prefix::kAlways;
  } else if (scheme == "first") {
    m.prefix = Prefix::kFirst;
  } else if (scheme == "never" || !scheme) {
    m.prefix = Prefix::kNever;
  } else {
    return c.place.Unsupported(fmt::format("prepend_scheme \"{}\"", scheme->substr(0, 40)));
  }
  return m;
}

absl::StatusOr<SplitBehavior> ReadBehavior(const JsonComponent& c) {
  CATENA_ASSIGN_OR_RETURN(const std::string name, RequiredString(*c.object, "behavior", c.place));
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return c.place.Damaged(
      fmt::format("has the behavior {}, of which there is none; use Isolated, "
                  "Removed, MergedWithPrevious, MergedWithNext or Contiguous",
                  Quoted(name)));
}

// A regular expression that we have a scanner for, or that PCRE2 runs.
absl::StatusOr<Separator> ReadRegex(const std::string& regex, const JsonPlace& place) {
  if (auto known = FindSplitPattern(regex)) return *known;
  absl::StatusOr<std::shared_ptr<const Regex>> compiled = Regex::Compile(regex);
  if (compiled.ok()) return *std::move(compiled);
  return absl::Status(compiled.status().code(),
                      fmt::format("{}: {}: {}: {}", place.source, place.at, Quoted(regex),
                                  Message(compiled.status())));
}

absl::StatusOr<SplitStage> ReadSplit(const JsonComponent& c) {
  const json& pattern = JsonMember(*c.object, "pattern");
  if (!pattern.is_object()) return c.place.Damaged("Split needs a pattern");
  SplitStage split;
  CATENA_ASSIGN_OR_RETURN(split.behavior, ReadBehavior(c));
  CATENA_ASSIGN_OR_RETURN(split.invert, BoolOr(*c.object, "invert", false, c.place));
  const JsonPlace place = c.place / "pattern";
  const json &regex = JsonMember(pattern, "Regex"), &text = JsonMember(pattern, "String");
  if (regex.is_string()) {
    CATENA_ASSIGN_OR_RETURN(split.separator, ReadRegex(regex.get<std::string>(), place));
  } else if (text.is_string() && text != "") {
    split.separator = text.get<std::string>();
  } else {
    return place.Damaged("must have a \"Regex\" or a \"String\"");
  }
  return split;
}

// Whitespace: runs of \w and of what is neither that nor white space, as Rust's regex crate has \w.
constexpr const char* kWordsAndSigns = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+)"
                                       R"(|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\s]+)";

// The pre-tokenizers that are a Split by another name; nullopt where `c` is none of them.
absl::StatusOr<std::optional<SplitStage>> ReadNamedSplit(const JsonComponent& c) {
  if (c.type == "Split") return ReadSplit(c);
  if (c.type == "Digits") {
    CATENA_ASSIGN_OR_RETURN(const bool individual,
                            BoolOr(*c.object, "individual_digits", false, c.place));
    return SplitStage{kNumber, individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous};
  }
  if (c.type == "Punctuation") {
    SplitStage split{kPunctuation};
    if (c.object->contains("behavior")) {
      CATENA_ASSIGN_OR_RETURN(split.behavior, ReadBehavior(c));
    }
    return split;
  }
  if (c.type == "Whitespace") {
    CATENA_ASSIGN_OR_RETURN(Separator words, ReadRegex(kWordsAndSigns, c.place));
    return SplitStage{std::move(words), SplitBehavior::kRemoved, true};
  }
  if (c.type == "WhitespaceSplit") return SplitStage{kSpace, SplitBehavior::kRemoved};
  if (c.type == "CharDelimiterSplit") {
    CATENA_ASSIGN_OR_RETURN(std::string text, RequiredString(*c.object, "delimiter", c.place));
    if (!IsOneCharacter(text)) {
      return (c.place / "delimiter").Damaged("must be one character; Split takes a longer String");
    }
    return SplitStage{std::move(text), SplitBehavior::kRemoved};
  }
  return std::nullopt;
}

absl::Status ReadByteLevel(const JsonComponent& c, bool last,
                           std::vector<PreTokenizerStage>* stages) {
  CATENA_ASSIGN_OR_RETURN(const bool prefix, BoolOr(*c.object, "add_prefix_space", true, c.place));
  CATENA_ASSIGN_OR_RETURN(const bool regex, BoolOr(*c.object, "use_regex", true, c.place));
  if (prefix) stages->push_back(PrefixSpaceStage{});
  if (regex) stages->push_back(SplitStage{SplitPattern::kGpt2});
  if (!last) stages->push_back(ByteLevelStage{});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PreTokenizerParts> ReadPreTokenizer(const json& v, const JsonPlace& p) {
  std::vector<JsonComponent> components;
  CATENA_RETURN_IF_ERROR(FlattenComponents(v, "pretokenizers", p, &components));
  std::vector<PreTokenizerStage> stages;
  bool byte_level = false;
  for (const JsonComponent& c : components) {
    CATENA_ASSIGN_OR_RETURN(std::optional<SplitStage> split, ReadNamedSplit(c));
    if (split) {
      stages.push_back(*std::move(split));
    } else if (byte_level) {
      return c.place.Unsupported(fmt::format("{} behind ByteLevel", c.type));
    } else if (c.type == "Metaspace") {
      CATENA_ASSIGN_OR_RETURN(MetaspaceStage metaspace, ReadMetaspace(c));
      stages.push_back(std::move(metaspace));
    } else if (c.type == "ByteLevel") {
      byte_level = true;
      CATENA_RETURN_IF_ERROR(ReadByteLevel(c, &c == &components.back(), &stages));
    } else {
      return c.place.Unsupported(fmt::format("the pre-tokenizer {}", c.type.substr(0, 40)));
    }
  }
  return PreTokenizerParts{PreTokenizer(std::move(stages)), byte_level};
}

}  // namespace catena
