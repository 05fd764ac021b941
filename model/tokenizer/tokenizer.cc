#include "model/tokenizer/tokenizer.h"

#include <optional>
#include <utility>

#include "model/checkpoint.h"
#include "model/file_limits.h"
#include "model/read_file.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

AddedTokenMatcher MakeMatcher(const std::vector<AddedToken>& added, const Normalizer& normalizer,
                              bool normalized) {
  std::vector<AddedTokenMatcher::Entry> entries;
  for (const bool special : {true, false}) {  // of equal patterns the special one counts
    for (const AddedToken& t : added) {
      if (t.normalized != normalized || t.special != special) continue;
      entries.push_back({normalized ? normalizer.Apply(t.content) : t.content, t});
    }
  }
  return AddedTokenMatcher(std::move(entries));
}

AddedTokenMatcher MakeSpecialMatcher(const std::vector<AddedToken>& added) {
  std::vector<AddedTokenMatcher::Entry> entries;
  for (const AddedToken& t : added) {
    if (t.special) entries.push_back({t.content, t});
  }
  return AddedTokenMatcher(std::move(entries));
}

std::vector<int32_t> HiddenIds(const TokenizerParts& parts) {
  std::vector<int32_t> ids = parts.end_ids;
  for (const AddedToken& t : parts.added) {
    if (t.special) ids.push_back(t.id);
  }
  return ids;
}

std::optional<Unigram> MakeUnigram(const Vocabulary& vocabulary, const TokenizerParts& parts) {
  if (!parts.unigram) return std::nullopt;
  UnigramOptions options = *parts.unigram;
  options.control = HiddenIds(parts);
  return std::optional<Unigram>(std::in_place, &vocabulary, std::move(options));
}

// Text that a normalizer has blown up would take memory that no real one's does.
constexpr size_t kFreeBytes = 1 << 20, kMaxGrowth = 4;

absl::Status CheckGrowth(size_t before, size_t after) {
  if (after <= kFreeBytes || after <= kMaxGrowth * before) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "the tokenizer's normalizer makes {} bytes of {}, more than {} times as many: give "
      "less text at a time",
      after, before, kMaxGrowth));
}

// `text` with `mark` behind each character.
std::string MarkCharacters(std::string_view text, std::string_view mark) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t size = ReadCodePoint(text, at).size;
    out.append(text, at, size);
    out += mark;
    at += size;
  }
  return out;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromCheckpoint(
    const Checkpoint& checkpoint) {
  if (const GgufVocabulary* vocabulary = checkpoint.gguf_vocabulary()) {
    return FromGguf(*vocabulary, checkpoint.path(), checkpoint.tokenizer_config().end_ids);
  }
  const std::optional<std::string> path = checkpoint.tokenizer_json_path();
  if (!path) {
    return absl::NotFoundError(
        fmt::format("{}: no tokenizer; add the model's tokenizer.json", checkpoint.path()));
  }
  CATENA_ASSIGN_OR_RETURN(const std::string text,
                          ReadFile(*path, limits::kTokenizerJson.max_bytes));
  return FromTokenizerJson(text, *path, checkpoint.tokenizer_config());
}

struct Tokenizer::EncodeState {
  std::string_view mark;
  PreTokenizer::Workspace pre_tokenizer;
  bool first = true;  // nothing of the text has been encoded yet
  Bpe::Workspace bpe = {};
  Unigram::Workspace unigram = {};
  std::vector<int32_t> ids = {};
  absl::Status status = {};  // nothing more is encoded once it is an error
};

Tokenizer::Tokenizer(TokenizerParts parts)
    : vocabulary_(std::move(parts.vocabulary)),
      bpe_(&vocabulary_, parts.merges, parts.bpe),
      unigram_(MakeUnigram(vocabulary_, parts)),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      raw_added_(MakeMatcher(parts.added, normalizer_, false)),
      normalized_added_(MakeMatcher(parts.added, normalizer_, true)),
      special_(MakeSpecialMatcher(parts.added)),
      decoder_(std::make_shared<const TokenDecoder>(vocabulary_, HiddenIds(parts),
                                                    std::move(parts.decoder))),
      bos_id_(parts.bos_id),
      add_bos_(parts.add_bos),
      end_ids_(std::move(parts.end_ids)) {}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view bytes,
                                                       const EncodeOptions& options) const {
  std::string replaced;
  if (!IsValidUtf8(bytes)) {
    AppendValidUtf8(bytes, &replaced);
    bytes = replaced;
  }
  EncodeState state{.mark = options.mark, .pre_tokenizer = PreTokenizer::Workspace(bytes.size())};
  raw_added_.Split(bytes, state.mark, [&](std::string_view segment, const AddedToken* token) {
    if (token != nullptr) {
      state.ids.push_back(token->id);
    } else {
      EncodeSegment(segment, &state);
    }
    state.first = false;
  });
  CATENA_RETURN_IF_ERROR(state.status);
  return std::move(state.ids);
}

std::string Tokenizer::BreakSpecial(std::string_view bytes, std::string_view mark) const {
  const std::string text = ToValidUtf8(bytes);
  std::string broken = special_.Break(text, mark);
  if (normalizer_.empty() || normalized_added_.empty()) return broken;
  // What only normalization makes a special token of is broken wherever it may be.
  bool special = false;
  normalized_added_.Split(normalizer_.Apply(broken), mark,
                          [&](std::string_view, const AddedToken* token) {
                            special |= token != nullptr && token->special;
                          });
  return special ? MarkCharacters(text, mark) : broken;
}

void Tokenizer::EncodeSegment(std::string_view segment, EncodeState* state) const {
  std::string normalized;
  if (!normalizer_.empty()) {
    normalized = normalizer_.Apply(segment);
    state->status.Update(CheckGrowth(segment.size(), normalized.size()));
    if (!state->status.ok()) return;
    segment = normalized;
  }
  normalized_added_.Split(segment, state->mark,
                          [&](std::string_view part, const AddedToken* token) {
                            if (token != nullptr) {
                              state->ids.push_back(token->id);
                            } else {
                              EncodePart(part, state);
                            }
                            state->first = false;
                          });
}

void Tokenizer::EncodePart(std::string_view part, EncodeState* state) const {
  if (!state->status.ok()) return;
  std::string whole;
  if (!state->mark.empty()) {
    whole = ReplaceAll(part, state->mark, "");
    part = whole;
  }
  state->status =
      pre_tokenizer_.Split(part, state->first, &state->pre_tokenizer, [&](std::string_view piece) {
        if (unigram_) return unigram_->Encode(piece, &state->unigram, &state->ids);
        bpe_.Encode(piece, &state->bpe, &state->ids);
      });
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special) const {
  StreamDecoder stream = MakeStreamDecoder(skip_special);
  std::string text;
  for (const int32_t id : ids) text += stream.Push(id);
  text += stream.Flush();
  return text;
}

}  // namespace catena
