// Builds a tokenizer from the vocabulary in a GGUF file, by the rules of llama.cpp (its
// src/llama-vocab.cpp) where the file leaves something unsaid.
#include <algorithm>
#include <string>
#include <utility>

#include "model/generation_config.h"
#include "model/tokenizer/gguf_pre_tokenizer.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

constexpr std::string_view kMarkedSpace = "\xE2\x96\x81";  // U+2581, SentencePiece's space

int TypeOf(const GgufVocabulary& v, size_t id) {
  return v.types.empty() ? kNormalToken : v.types[id];
}

absl::Status Check(const GgufVocabulary& v, std::string_view source) {
  if (v.tokens.empty()) {
    return absl::DataLossError(fmt::format("{}: tokenizer.ggml.tokens is empty", source));
  }
  if (!v.types.empty() && v.types.size() != v.tokens.size()) {
    return absl::DataLossError(
        fmt::format("{}: {} tokens but {} token types", source, v.tokens.size(), v.types.size()));
  }
  return absl::OkStatus();
}

// The tokens in their order, ill-formed UTF-8 replaced; unused ones (padding) are left out.
absl::StatusOr<Vocabulary> MakeVocabulary(const GgufVocabulary& v, std::string_view source) {
  std::vector<std::string> repaired;
  repaired.reserve(v.tokens.size());  // the entries point into it
  std::vector<VocabularyEntry> entries;
  for (size_t id = 0; id < v.tokens.size(); ++id) {
    if (TypeOf(v, id) == kUnusedToken) continue;
    std::string_view text = v.tokens[id];
    if (!IsValidUtf8(text)) {
      repaired.emplace_back();
      AppendValidUtf8(text, &repaired.back());
      text = repaired.back();
    }
    entries.push_back({static_cast<int32_t>(id), text, false});
  }
  return Vocabulary::Make(std::move(entries), source);
}

// GGUF has no strip flags. Phi-3's, known by the tokens of its chat, take white space along as in
// its tokenizer.json; llama.cpp sets the same, by the model's name.
bool IsPhi3(const Vocabulary& vocabulary) {
  return vocabulary.Find("<|endoftext|>") == 32000 && vocabulary.Find("<|assistant|>") == 32001 &&
         vocabulary.Find("<|end|>") == 32007 && vocabulary.Find("<|user|>") == 32010;
}

std::vector<AddedToken> MakeAdded(const GgufVocabulary& v, const Vocabulary& vocabulary) {
  const bool phi3 = v.model == "llama" && IsPhi3(vocabulary);
  std::vector<AddedToken> out;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const int type = TypeOf(v, id);
    const std::string_view text = vocabulary.Text(id);
    const bool added = type == kControlToken || type == kUserToken || type == kUnknownToken;
    if (!added || text.empty() || text.size() > kMaxAddedTokenBytes) continue;
    AddedToken t{.content = std::string(text), .id = id, .special = type != kUserToken};
    if (phi3) t.rstrip = id == 2 || id > 32000;
    if (phi3 && id == 2) t.special = false;
    out.push_back(std::move(t));
  }
  return out;
}

// Merges as huggingface/transformers derives them from SentencePiece's scores: every way to join a
// token from two others, the best score first; of one score, the longer left part, then the longer
// right part first.
std::vector<BpeMerge> MergesFromScores(const GgufVocabulary& v, const Vocabulary& vocabulary) {
  struct Scored {
    BpeMerge merge;
    float score;
    uint32_t left_chars, right_chars;
  };
  constexpr size_t kLongestMerged = 256;  // bytes; bounds the work for a token, real ones have 48
  std::vector<Scored> scored;
  std::vector<size_t> starts;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.Text(id);
    if (TypeOf(v, id) != kNormalToken || text.size() > kLongestMerged) continue;
    if (vocabulary.Find(text) != id) continue;
    starts.clear();
    for (size_t i = 0; i < text.size(); i += ReadCodePoint(text, i).size) starts.push_back(i);
    const size_t first = scored.size();
    for (size_t i = 1; i < starts.size(); ++i) {
      const int32_t left = vocabulary.Find(text.substr(0, starts[i]));
      if (left < 0) continue;
      const int32_t right = vocabulary.Find(text.substr(starts[i]));
      if (right < 0) continue;
      scored.push_back({{left, right, id},
                        v.scores[id],
                        static_cast<uint32_t>(i),
                        static_cast<uint32_t>(starts.size() - i)});
    }
    std::sort(scored.begin() + static_cast<ptrdiff_t>(first), scored.end(),
              [](const Scored& a, const Scored& b) {
                return std::pair(a.merge.left, a.merge.right) <
                       std::pair(b.merge.left, b.merge.right);
              });
  }
  std::stable_sort(scored.begin(), scored.end(), [](const Scored& a, const Scored& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.left_chars != b.left_chars) return a.left_chars > b.left_chars;
    return a.right_chars > b.right_chars;
  });
  std::vector<BpeMerge> merges;
  merges.reserve(scored.size());
  for (const Scored& s : scored) merges.push_back(s.merge);
  return merges;
}

absl::StatusOr<std::vector<BpeMerge>> ReadMerges(const GgufVocabulary& v,
                                                 const Vocabulary& vocabulary,
                                                 std::string_view source) {
  std::vector<BpeMerge> out;
  out.reserve(v.merges.size());
  std::string joined;
  for (const std::string& text : v.merges) {
    const size_t space = text.find(' ', 1);  // the left token may be a space
    if (space == std::string::npos) {
      return absl::DataLossError(fmt::format(
          "{}: merge {} of tokenizer.ggml.merges is not two tokens", source, out.size()));
    }
    const std::string_view left = std::string_view(text).substr(0, space);
    const std::string_view right = std::string_view(text).substr(space + 1);
    joined.assign(left).append(right);
    const BpeMerge m{vocabulary.Find(left), vocabulary.Find(right), vocabulary.Find(joined)};
    if (m.left < 0 || m.right < 0 || m.result < 0) {
      return absl::DataLossError(fmt::format(
          "{}: merge {} of tokenizer.ggml.merges names a token that is not in the vocabulary",
          source, out.size()));
    }
    out.push_back(m);
  }
  return out;
}

absl::Status FillSentencePiece(const GgufVocabulary& v, std::string_view source,
                               TokenizerParts* parts) {
  if (v.scores.size() != v.tokens.size() ||
      std::any_of(v.scores.begin(), v.scores.end(), [](float s) { return s != s; })) {
    return absl::DataLossError(
        fmt::format("{}: tokenizer.ggml.scores must give each token a number", source));
  }
  parts->merges = MergesFromScores(v, parts->vocabulary);
  parts->bpe.byte_fallback = true;
  parts->bpe.fuse_unk = true;
  if (parts->vocabulary.Has(v.unk_id)) parts->bpe.unk_id = v.unk_id;
  const bool prefix = v.add_space_prefix.value_or(true);
  std::vector<NormalizerStep> steps;
  if (prefix) steps.push_back(PrependStep{std::string(kMarkedSpace)});
  steps.push_back(ReplaceStep{" ", std::string(kMarkedSpace)});
  parts->normalizer = Normalizer(std::move(steps));
  parts->decoder = {.byte_fallback = true,
                    .replacements = {{std::string(kMarkedSpace), " "}},
                    .dropped_first = {},
                    .strip = " ",
                    .strip_count = prefix ? 1 : 0};
  parts->add_bos = v.add_bos.value_or(true);
  return absl::OkStatus();
}

absl::Status FillByteLevel(const GgufVocabulary& v, std::string_view source,
                           TokenizerParts* parts) {
  CATENA_ASSIGN_OR_RETURN(GgufPreTokenizer pre,
                          MakeGgufPreTokenizer(v.pre, v.add_space_prefix.value_or(false), source));
  CATENA_ASSIGN_OR_RETURN(parts->merges, ReadMerges(v, parts->vocabulary, source));
  parts->pre_tokenizer = std::move(pre.pre_tokenizer);
  parts->bpe.byte_level = true;
  parts->bpe.ignore_merges = pre.ignore_merges;
  parts->decoder = {.byte_level = true, .replacements = {}, .dropped_first = {}, .strip = {}};
  parts->add_bos = v.add_bos.value_or(pre.add_bos);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromGguf(
    const GgufVocabulary& v, std::string_view source, absl::Span<const int32_t> end_ids) {
  CATENA_RETURN_IF_ERROR(Check(v, source));
  TokenizerParts parts;
  CATENA_ASSIGN_OR_RETURN(parts.vocabulary, MakeVocabulary(v, source));
  if (v.model == "llama") {
    CATENA_RETURN_IF_ERROR(FillSentencePiece(v, source, &parts));
  } else if (v.model == "gpt2") {
    CATENA_RETURN_IF_ERROR(FillByteLevel(v, source, &parts));
  } else {
    return absl::InvalidArgumentError(
        fmt::format("{}: the tokenizer \"{}\" (tokenizer.ggml.model) is not supported; llama and "
                    "gpt2 are",
                    source, v.model.substr(0, 80)));
  }
  parts.added = MakeAdded(v, parts.vocabulary);
  if (parts.vocabulary.Has(v.bos_id)) parts.bos_id = v.bos_id;
  parts.add_bos = parts.add_bos && parts.bos_id >= 0;
  parts.end_ids.assign(end_ids.begin(), end_ids.end());
  for (const int32_t id : v.end_ids) AddId(id, &parts.end_ids);
  return std::make_shared<const Tokenizer>(std::move(parts));
}

}  // namespace catena
