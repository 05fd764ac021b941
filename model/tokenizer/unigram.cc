#include "model/tokenizer/unigram.h"

#include <algorithm>

#include "kernels/base/status.h"
#include "model/tokenizer/utf8.h"

namespace catena {
namespace {

constexpr uint32_t kNone = UINT32_MAX;
constexpr double kUnkPenalty = 10.0;    // of an unknown character, below the worst token
constexpr size_t kKeptNodes = 1 << 16;  // nodes; a larger workspace is given back

uint8_t ByteAt(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

}  // namespace

Unigram::Unigram(const Vocabulary* vocabulary, UnigramOptions options)
    : vocabulary_(vocabulary), options_(std::move(options)) {
  CATENA_CHECK(!options_.scores.empty());
  unk_score_ = *std::min_element(options_.scores.begin(), options_.scores.end()) - kUnkPenalty;
  is_control_.resize(options_.scores.size());
  for (const int32_t id : options_.control) {
    if (id >= 0 && static_cast<size_t>(id) < is_control_.size()) is_control_[id] = true;
  }
  for (int b = 0; b < 256; ++b) byte_ids_[b] = vocabulary_->Find(fmt::format("<0x{:02X}>", b));
  for (size_t i = 0; i < options_.scores.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string_view text = vocabulary_->Text(id);
    CATENA_CHECK(text.size() <= kMaxUnigramTokenBytes);
    if (!text.empty() && Find(text) == id) sorted_.push_back(id);
  }
  std::sort(sorted_.begin(), sorted_.end(),
            [&](int32_t a, int32_t b) { return vocabulary_->Text(a) < vocabulary_->Text(b); });
  const Range all{0, static_cast<uint32_t>(sorted_.size())};
  for (int b = 0; b < 256; ++b) first_[b] = Narrow(all, 0, static_cast<uint8_t>(b));
}

Unigram::Range Unigram::Narrow(Range range, size_t depth, uint8_t byte) const {
  const auto begin = sorted_.begin() + range.begin, end = sorted_.begin() + range.end;
  // What ends before `depth` sorts before all that does not.
  const auto from = std::partition_point(begin, end, [&](int32_t id) {
    const std::string_view text = vocabulary_->Text(id);
    return text.size() <= depth || ByteAt(text, depth) < byte;
  });
  const auto to = std::partition_point(
      from, end, [&](int32_t id) { return ByteAt(vocabulary_->Text(id), depth) == byte; });
  return {static_cast<uint32_t>(from - sorted_.begin()),
          static_cast<uint32_t>(to - sorted_.begin())};
}

void Unigram::Relax(std::string_view piece, size_t at, Workspace* w) const {
  const double so_far = w->nodes[at].score;
  const auto reach = [&](size_t end, int32_t id, double score) {
    Workspace::Node& node = w->nodes[end];
    if (node.start != kNone && !(score > node.score)) return;
    node = {score, id, static_cast<uint32_t>(at)};
  };
  const size_t character = ReadCodePoint(piece, at).size;
  bool known = false;  // the character is a token
  Range range = first_[ByteAt(piece, at)];
  for (size_t depth = 1; range.begin < range.end; ++depth) {
    const int32_t id = sorted_[range.begin];  // the shortest
    if (vocabulary_->Text(id).size() == depth) {
      reach(at + depth, id, options_.scores[static_cast<size_t>(id)] + so_far);
      known |= depth == character;
    }
    if (at + depth == piece.size()) break;
    range = Narrow(range, depth, ByteAt(piece, at + depth));
  }
  if (!known) reach(at + character, options_.unk_id, unk_score_ + so_far);
}

void Unigram::Encode(std::string_view piece, Workspace* w, std::vector<int32_t>* out) const {
  w->nodes.assign(piece.size() + 1, {.score = 0, .id = 0, .start = kNone});
  for (size_t at = 0; at < piece.size(); at += ReadCodePoint(piece, at).size) Relax(piece, at, w);
  w->spans.clear();
  bool last_unk = false;  // unknown characters in a row are one
  for (auto end = static_cast<uint32_t>(piece.size()); end > 0;) {
    const Workspace::Node& node = w->nodes[end];
    const bool unk = node.id == options_.unk_id;
    if (unk && last_unk) {
      w->spans.back().begin = node.start;
    } else {
      w->spans.push_back({node.start, end});
    }
    last_unk = unk;
    end = node.start;
  }
  for (auto span = w->spans.rbegin(); span != w->spans.rend(); ++span) {
    AppendIds(piece.substr(span->begin, span->end - span->begin), out);
  }
  if (w->nodes.capacity() > kKeptNodes) *w = Workspace();
}

int32_t Unigram::Find(std::string_view text) const {
  const int32_t id = vocabulary_->Find(text);
  const bool own = id >= 0 && static_cast<size_t>(id) < is_control_.size();
  return own && is_control_[id] ? -1 : id;
}

void Unigram::AppendIds(std::string_view text, std::vector<int32_t>* out) const {
  const int32_t id = Find(text);
  const auto byte_id = [&](char b) { return byte_ids_[static_cast<uint8_t>(b)]; };
  if (id >= 0) {
    out->push_back(id);
  } else if (options_.byte_fallback &&
             std::all_of(text.begin(), text.end(), [&](char b) { return byte_id(b) >= 0; })) {
    for (const char b : text) out->push_back(byte_id(b));
  } else {
    out->push_back(options_.unk_id);
  }
}

}  // namespace catena
