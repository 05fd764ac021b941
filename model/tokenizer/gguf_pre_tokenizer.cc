#include "model/tokenizer/gguf_pre_tokenizer.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace catena {
namespace {

// Steps, one after the other, as their models' tokenizer.json has them. What the scanners know is
// found by its text.
constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                               R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
    R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kKimiK2 =
    R"([\p{Han}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)"
    R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kBailingMoe = R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N})"
                                    R"(| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr const char* kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1})"
    R"(| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kExaoneMoe =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr const char* kJais2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S))"
    R"(|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})";
constexpr const char* kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Letters that have a capital or a small form, as DeepSeek lists them.
constexpr const char* kDeepSeekCased =
    R"(\s?[A-Za-z)"
    R"(\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a})"
    R"(\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556})"
    R"(\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf})"
    R"(\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d})"
    R"(\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d})"
    R"(\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4})"
    R"(\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4})"
    R"(\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124})"
    R"(\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f})"
    R"(\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4})"
    R"(\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f})"
    R"(\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17})"
    R"(\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3})"
    R"(\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df})"
    R"(\x{1e900}-\x{1e943})"
    R"(]+)";
constexpr const char* kDeepSeekSigns =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
constexpr const char* kDeepSeekCjk = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr const char* kHanAndKana = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr const char* kYoutuScripts =
    R"([\x{ac00}-\x{d7a3}\x{3131}-\x{318e}]+)"
    R"(|[\x{ff01}\x{2026}\x{201c}\x{201d}\x{2018}\x{2019}\x{2014}\x{ff1a}\x{ff1b}\x{ff0c})"
    R"(\x{3001}-\x{303f}\x{fe30}-\x{fe4f}]+|[\x{3105}-\x{312f}]+)"
    R"(|[\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr const char* kBloom =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)";
constexpr const char* kFalconSigns = R"([\p{P}\$\+<=>\^~\|`]+)";
constexpr const char* kDefaultSigns = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr const char* kThreeDigits = "[0-9][0-9][0-9]";
constexpr const char* kThousands = R"(\d{1,3}(?=(?:\d{3})*\b))";

struct Known {
  std::string_view name;
  std::array<const char*, 6> steps = {};
  bool ignore_merges = false;
  bool add_bos = false;
};

// A name without steps is another name for the one before it. The likeliest come first, and of two
// that many vocabularies cannot tell apart (no token has two digits) the one that cuts more.
constexpr Known kKnown[] = {
    {"smollm", {R"(\p{N})", kGpt2}},
    {"starcoder"},
    {"refact"},
    {"command-r"},
    {"codeshell"},
    {"exaone"},
    {"minerva-7b"},
    {"mellum2"},
    {"gpt-2", {kGpt2}},
    {"phi-2"},
    {"mpt"},
    {"olmo"},
    {"jais"},
    {"gigachat"},
    {"a.x-4.0"},
    {"mellum"},
    {"modern-bert"},
    {"exaone4"},
    {"trillion"},
    {"granite-docling"},
    {"qwen2", {kQwen2}},
    {"deepseek-r1-qwen"},
    {"kormo"},
    {"f2llmv2"},
    {"megrez"},
    {"stablelm2"},
    {"hunyuan"},
    {"solar-open"},
    {"grok-2"},
    {"llama-bpe", {kLlama3}, true, true},
    {"llama3"},
    {"llama-v3"},
    {"falcon3"},
    {"falcon-h1"},
    {"pixtral"},
    {"midm-2.0"},
    {"lfm2"},
    {"jina-v5-nano"},
    {"smaug-bpe", {kLlama3}},
    {"dbrx"},
    {"glm4"},
    {"chatglm-bpe"},
    {"gpt-4o", {kGpt4o}},
    {"llama4"},
    {"kanana2"},
    {"talkie"},
    {"minimax-m2"},
    {"qwen35", {kQwen35}},
    {"tiny_aya", {kThousands, kGpt4o}},
    {"tekken", {kTekken}, true, true},
    {"kimi-k2", {kKimiK2}},
    {"deepseek-llm",
     {R"([\r\n])", kDeepSeekCased, kDeepSeekSigns, R"(\s+$)", kDeepSeekCjk, R"(\p{N}+)"}},
    {"deepseek-coder", {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepSeekCjk, R"(\p{N})"}},
    {"deepseek-v3", {R"(\p{N}{1,3})", kHanAndKana, kDeepSeek3}},
    {"hunyuan-dense"},
    {"joyai-llm"},
    {"youtu", {kYoutuScripts, kGpt4o}, true},
    {"falcon", {kFalconSigns, kGpt2, kThreeDigits}},
    {"bailingmoe", {kBailingMoe}},
    {"bailingmoe2"},
    {"llada-moe"},
    {"seed-coder", {kSeedCoder}},
    {"exaone-moe", {kExaoneMoe}},
    {"jais-2", {kJais2}},
    {"superbpe", {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
    {"bloom", {kBloom}},
    {"poro-chat"},
    {"gpt3-finnish"},
    {"viking", {kBloom, R"(\p{N})"}},
    {"chameleon",
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", R"(([\t\n]|    |  ))", R"(\p{N})",
      R"([\p{P}!-/:-@\[-`{-~])", kGpt2},
     false,
     true},
    {"default", {kDefaultSigns, kGpt2, R"(\p{N}+)", kThreeDigits}},
    {""},
};

const Known* Find(std::string_view name) {
  const Known* with_steps = nullptr;
  for (const Known& known : kKnown) {
    if (known.steps[0] != nullptr) with_steps = &known;
    if (known.name == name) return with_steps;
  }
  return nullptr;
}

absl::Status Unknown(std::string_view name, std::string_view source) {
  std::string names;
  for (const Known& known : kKnown) {
    if (!known.name.empty()) names += fmt::format("{}{}", names.empty() ? "" : " ", known.name);
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: the pre-tokenizer {} (tokenizer.ggml.pre) is not supported; known are: {}",
                  source, Quoted(name), names));
}

}  // namespace

std::vector<std::string_view> GgufPreTokenizerRules() {
  std::vector<std::string_view> names;
  for (const Known& known : kKnown) {
    if (known.steps[0] != nullptr) names.push_back(known.name);
  }
  return names;
}

absl::StatusOr<GgufPreTokenizer> MakeGgufPreTokenizer(std::string_view name, bool space_prefix,
                                                      std::string_view source) {
  const Known* known = Find(name);
  if (known == nullptr) return Unknown(name, source);
  std::vector<PreTokenizerStage> stages;
  for (const char* step : known->steps) {
    if (step == nullptr) break;
    if (const auto pattern = FindSplitPattern(step)) {
      stages.push_back(SplitStage{*pattern});
    } else {
      CATENA_ASSIGN_OR_RETURN(auto regex, Regex::Compile(step));
      stages.push_back(SplitStage{std::move(regex)});
    }
  }
  if (space_prefix) stages.insert(stages.end() - 1, PrefixSpaceStage{});
  return GgufPreTokenizer{PreTokenizer(std::move(stages)), known->ignore_merges, known->add_bos};
}

}  // namespace catena
